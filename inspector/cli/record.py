"""``inspector record``: what this machine's KVM answers, as a file that ``inspector verify`` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.capture.errors import InputError, UsageError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import say
from inspector.export.files import save_bytes

_ABOUT = """\
Ask the KVM of this machine what recordings hold, on scratch vCPUs that never run, and write the answers. A file of a
kernel that disagrees with the simulated machine (inspector verify FILE) is what to send along with a report."""

_EXAMPLES = """\
  inspector record kvm: -o mine.jsonl
  inspector record kvm: --restore -o restore.jsonl
  inspector verify mine.jsonl"""


def run(words: Sequence[str]) -> int:
    """Write a recording."""
    parser = arguments.parser("record", _ABOUT, _EXAMPLES)
    parser.add_argument("target", metavar="kvm:", help="the KVM of this machine")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="JSON lines; it must not exist")
    parser.add_argument("--restore", action="store_true", help="x86: what KVM offers to a VMM that restores vCPUs")
    found = parser.parse_args(words)
    machine = os.uname().machine
    records = {"x86_64": _x86, "aarch64": _arm64}.get(machine)
    if records is None:
        raise InputError("kvm", "the KVM of an x86 or arm64 machine to record", f"this machine is {machine}")
    lines = [json.dumps(record, separators=(",", ":")) for record in records(found.target, restore=found.restore)]
    save_bytes(found.output, ("\n".join(lines) + "\n").encode())
    say(f"{found.output}: {len(lines)} records of Linux {os.uname().release}")
    return ExitCode.OK


def _x86(target: str, *, restore: bool) -> Iterator[dict[str, Any]]:
    from inspector.targets.live.kvm_x86 import opened_kvm

    with opened_kvm(target) as kvm:
        if restore:
            from inspector.targets.live.recorder_restore import recorded
        else:
            from inspector.targets.live.recorder_x86 import recorded
        yield from recorded(kvm)


def _arm64(target: str, *, restore: bool) -> Iterator[dict[str, Any]]:
    if restore:
        raise UsageError("record --restore: recordings of restores are of x86; this machine is arm64")
    from inspector.targets.live.kvm_arm64 import opened_kvm
    from inspector.targets.live.recorder_arm64 import recorded

    with opened_kvm(target) as kvm:
        yield from recorded(kvm)
