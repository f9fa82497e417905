"""``inspector migrate``: would a vCPU arrive on another host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.targets import kernels
from inspector.targets.schemes import capture_of, scheme_of
from layouts.x86.vmms import VMMS

_HELP = "a host: a known core, a chip, a model, or a capture; its KVM is --kernel or @RELEASE after the name"
_EXAMPLES = """\
  inspector migrate guest.regs neoverse-n1@6.12
  inspector migrate sample:graviton3/linux-6.18 neoverse-n1
  inspector migrate neoverse-v1 neoverse-n2 --steps
  inspector migrate sample:kvm-vcpus/genoa-linux-7.2 milan@6.18
  inspector migrate sample:sapphire-rapids/linux-6.18 sapphire-rapids@6.1 --vmm firecracker
  inspector migrate model:EPYC-Milan EPYC-Rome --vmm libvirt

Every call is made, also after one that failed; most VMMs stop at the first. The exit code is 1 when the vCPU does not
arrive as it was, or when that is not known of the destination."""


def run(words: Sequence[str]) -> int:
    """Restore a vCPU on a host, call by call."""
    parser = arguments.parser("migrate", "Would a vCPU arrive on another host, and if not, why.", _EXAMPLES)
    parser.add_argument("source", metavar="SRC", help="a capture, or a host: a guest with all that it has")
    parser.add_argument("destination", metavar="DST", help=_HELP)
    parser.add_argument("--vcpu", type=int, metavar="N", help="which vCPU of the capture (default 0)")
    parser.add_argument("--kernel", default="", metavar="RELEASE", help=f"of the destination: {kernels.HELP}")
    parser.add_argument("--vmm", default="", choices=("", *VMMS), metavar="NAME", help=f"x86: {', '.join(VMMS)}")
    parser.add_argument("--model", default="", metavar="LINE", help="x86: the destination's -cpu line or <cpu>")
    parser.add_argument("--machine", default="", metavar="TYPE", help="x86: the machine type of --model (pc-q35-9.0)")
    parser.add_argument("--bits", action="store_true", help="x86: every differing bit, also those in nobody's way")
    parser.add_argument("--abi", default="merged", choices=("merged", "proposal"), help="SVE's interface")
    parser.add_argument("--imp-ids", action="store_true", help="with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS")
    parser.add_argument("--steps", action="store_true", help="every call, also those that succeed")
    parser.add_argument("--json", action="store_true", help="as JSON")
    found = parser.parse_args(words)
    capture = _x86_source(found.source)
    if capture is not False:
        from inspector.cli import migrate_x86

        return migrate_x86.run(found, capture)
    if found.vmm or found.model or found.machine:
        raise UsageError("--vmm, --model and --machine go with x86 vCPUs")
    from inspector.cli import migrate_arm64

    return migrate_arm64.run(found)


def _x86_source(text: str) -> Capture | Literal[False] | None:
    """The capture of an x86 vCPU, None for an x86 word that is none; False for what is not x86."""
    if text.startswith("model:") or not (scheme_of(text).prefix or os.path.lexists(text)):
        from inspector.targets.x86_words import is_x86_guest_word

        return None if is_x86_guest_word(text) else False
    capture = capture_of(text, arguments.TOLD)
    return capture if capture.vcpus and capture.vcpus[0].arch == "x86" else False
