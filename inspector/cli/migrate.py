"""``inspector migrate``: would a vCPU arrive on another host."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.cli import arguments
from inspector.targets.moves import Move, mover_of
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

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
    arguments.add_move(parser)
    parser.add_argument("--bits", action="store_true", help="x86: every differing bit, also those in nobody's way")
    parser.add_argument("--steps", action="store_true", help="every call, also those that succeed")
    parser.add_argument("--json", action="store_true", help="as JSON")
    found = parser.parse_args(words)
    move = move_of(found)
    mover = mover_of(move.source, arguments.TOLD)
    if mover.architecture == "x86":
        from inspector.cli import migrate_x86

        return migrate_x86.run(found, move, mover.capture)
    if move.is_x86:
        raise UsageError("--vmm, --model and --machine go with x86 vCPUs")
    from inspector.cli import migrate_arm64

    return migrate_arm64.run(found, move, mover.capture)


def move_of(found: argparse.Namespace) -> Move:
    """The move that the arguments say."""
    return Move(**{name: getattr(found, name) for name in Move._fields})
