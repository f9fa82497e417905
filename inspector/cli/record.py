"""``inspector record``: what this machine's KVM answers, as a file that ``inspector verify`` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from inspector.capture.errors import InputError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import say
from inspector.export.files import save_bytes

_ABOUT = """\
Ask the KVM of this machine what recordings hold, on scratch vCPUs that never run, and write the answers. A file of a
kernel that disagrees with the simulated machine (inspector verify FILE) is what to send along with a report."""

_EXAMPLES = """\
  inspector record kvm: -o mine.jsonl
  inspector verify mine.jsonl"""


def run(words: Sequence[str]) -> int:
    """Write a recording."""
    parser = arguments.parser("record", _ABOUT, _EXAMPLES)
    parser.add_argument("target", metavar="kvm:", help="the KVM of this machine (x86)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="JSON lines; it must not exist")
    found = parser.parse_args(words)
    if os.uname().machine != "x86_64":
        raise InputError("kvm", "the KVM of an x86 machine to record", f"this machine is {os.uname().machine}")
    from inspector.targets.live.kvm_x86 import opened_kvm
    from inspector.targets.live.recorder_x86 import recorded

    with opened_kvm(found.target) as kvm:
        lines = [json.dumps(record, separators=(",", ":")) for record in recorded(kvm)]
    save_bytes(found.output, ("\n".join(lines) + "\n").encode())
    say(f"{found.output}: {len(lines)} records of Linux {os.uname().release}")
    return ExitCode.OK
