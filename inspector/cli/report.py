"""``inspector report``: one file for a bug tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture, Vcpu
from inspector.cli import arguments
from inspector.cli.lint import VMMS
from inspector.cli.streams import note
from inspector.export.files import save_new
from inspector.export.report.case import Asked, Case, Verdict, case_of
from inspector.export.report.redact import Redaction, counts_of
from inspector.targets.schemes import capture_of, scheme_of
from layouts.secrets import KINDS

if TYPE_CHECKING:
    import argparse

    from inspector.cli.parser import Parser


#: A verdict on a move as a report says it: good, bad, or not known.
_IS_GOOD = {"arrives": True, "open": None}

_ABOUT = """\
One file for a bug tracker: what a capture is, the verdicts that were asked for, the fields that matter with their bytes
beside them, and the capture itself, which inspector open FILE opens again. It needs no network and no JavaScript.
Memory, keys, pointers and names are left out, and listed; --keep keeps them."""

_EXAMPLES = """\
  inspector report sample:amx/process.core --lint -o case.html
  inspector report before.bin after.bin --diff -o case.html
  inspector report guest.regs --migrate neoverse-n1@6.12 -o case.html
  inspector report core.1234 --keep pointer --keep 'xsave.zmm[*]' -o case.html
  inspector report core.1234 --lint --markdown"""


def run(words: Sequence[str]) -> int:
    """Write a report."""
    found = _parser().parse_args(words)
    if not found.output and not found.markdown:
        raise UsageError("report: -o FILE, please (or --markdown for text)")
    if found.diff and len(found.targets) != 2:
        raise UsageError("report --diff: two targets, please")
    if found.migrate and len(found.targets) != 1:
        raise UsageError("report --migrate: one target, please")
    options = arguments.options_of(found)
    captures: list[tuple[Capture, Sequence[Vcpu]]] = []
    for target in found.targets:
        capture = capture_of(target, options if scheme_of(target).is_file else arguments.TOLD)
        captures.append((capture, arguments.choose_vcpus(capture, found.vcpu)))
    migration = _migration(*captures[0], found) if found.migrate else None
    asked = Asked(found.lint or bool(found.vmm), found.vmm, found.diff, migration, tuple(found.field))
    redaction = Redaction(found.keep)
    case = case_of(captures, asked, redaction)
    _write(case, found)
    _tell_left_out(redaction)
    return max(arguments.tell(capture) for capture, _ in captures)


def _parser() -> Parser:
    parser = arguments.parser("report", _ABOUT, _EXAMPLES)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="captures: see targets below")
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="where to; must not exist (- for stdout)")
    parser.add_argument("--markdown", action="store_true", help="the text of an issue, to stdout without -o")
    parser.add_argument("--lint", action="store_true", help="with what contradicts itself")
    parser.add_argument(
        "--vmm", default="", choices=VMMS, help="lint for that VMM too; with --migrate x86: it restores"
    )
    parser.add_argument("--diff", action="store_true", help="with what differs between two targets")
    parser.add_argument("--migrate", default="", metavar="HOST", help="would the vCPU arrive there")
    parser.add_argument("--kernel", default="", metavar="RELEASE", help="of that host")
    parser.add_argument("--vcpu", type=int, metavar="N", help="only this vCPU or thread")
    parser.add_argument(
        "--field", action="append", default=[], metavar="GLOB", help="fields that matter (may be repeated)"
    )
    kinds = ", ".join(KINDS)
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="WHAT",
        help=f"do not leave out: {kinds}, all, or a glob of paths (may be repeated)",
    )
    parser.add_argument("--layout", default="", metavar="NAME", help="CPU layout of XSAVE images (see: layouts list)")
    parser.add_argument("--as", dest="as_format", default="", metavar="NAME", help="what raw files are (kvm-regs, ...)")
    arguments.list_targets(parser)
    return parser


def _write(case: Case, found: argparse.Namespace) -> None:
    if found.markdown:
        from inspector.export.report.markdown import markdown_of

        text = "".join(f"{line}\n" for line in markdown_of(case)).encode("utf-8", "backslashreplace")
        save_new(found.output or "-", lambda out: out.write(text))
    else:
        from inspector.export.report.page import write_page

        save_new(found.output, lambda out: write_page(out, case))


def _tell_left_out(redaction: Redaction) -> None:
    """What was left out, and what of ``--keep`` kept nothing."""
    if redaction.dropped:
        note(f"inspector: left out: {counts_of(redaction.dropped)}; the report lists them, --keep keeps them")
    for word in redaction.keep.unused():
        note(f"inspector: --keep {word}: nothing of it would have been left out")


def _migration(capture: Capture, vcpus: Sequence[Vcpu], found: argparse.Namespace) -> tuple[Verdict, Sequence[str]]:
    """Would the first vCPU arrive on a host. Raises InputError where it is no vCPU that a VMM restores."""
    vcpu = vcpus[0] if vcpus else None
    if vcpu is not None and vcpu.arch == "x86":
        return _migration_x86(capture, vcpu, found)
    from inspector.export.migration import migration_text
    from inspector.targets.arm64_host import captured_state
    from inspector.targets.arm64_move import verdict_of
    from inspector.targets.moves import Move

    state = captured_state(vcpu, f"{vcpu.name} of {capture.target}") if vcpu is not None else None
    if state is None:
        raise InputError(
            capture.target, "an x86 vCPU, or an arm64 one with KVM registers", vcpu.arch if vcpu else "no vCPU"
        )
    made = verdict_of(state, Move(capture.target, found.migrate, found.kernel), arguments.TOLD)
    is_good = _IS_GOOD.get(made.verdict, False)
    return _verdict(found, list(migration_text(made, steps=False)), is_good=is_good)


def _migration_x86(capture: Capture, vcpu: Vcpu, found: argparse.Namespace) -> tuple[Verdict, Sequence[str]]:
    from inspector.export.x86_migration import x86_migration_text
    from inspector.targets.moves import Move
    from inspector.targets.x86_destination import destination_of
    from inspector.targets.x86_guest import guest_of_vcpu
    from inspector.targets.x86_move import migration_of, vmm_of

    destination = destination_of(found.migrate, found.kernel, arguments.TOLD)
    guest = guest_of_vcpu(capture, vcpu, arguments.TOLD)
    move = Move(capture.target, found.migrate, vmm=found.vmm or vmm_of(capture))
    made = migration_of(guest, destination, move)
    is_good = _IS_GOOD.get(made.verdict, False)
    return _verdict(found, list(x86_migration_text(made, steps=False, bits=False)), is_good=is_good)


def _verdict(found: argparse.Namespace, lines: Sequence[str], *, is_good: bool | None) -> tuple[Verdict, Sequence[str]]:
    return Verdict(f"migrate to {found.migrate}", lines[0].rpartition(": ")[2], is_good), lines
