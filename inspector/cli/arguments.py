"""Arguments that several commands share."""

from __future__ import annotations

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture, Vcpu
from inspector.cli.parser import Parser
from inspector.cli.streams import note
from inspector.readers.options import Options, check_layout
from inspector.targets.notes import tell_of
from inspector.targets.schemes import SCHEMES
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def parser(command: str, about: str, examples: str = "") -> Parser:
    """A parser for one command."""
    return Parser(command, about, examples)


def add_target(to: Parser) -> None:
    """TARGET, ``--layout`` and ``--as``."""
    to.add_argument("target", metavar="TARGET", help="a capture: see targets below")
    _add_reading(to)


def add_targets(to: Parser) -> None:
    """The same for one TARGET or more."""
    to.add_argument("targets", nargs="+", metavar="TARGET", help="captures: see targets below")
    _add_reading(to)


def _add_reading(to: Parser) -> None:
    to.add_argument("--layout", default="", metavar="NAME", help="CPU layout of XSAVE images (see: layouts list)")
    to.add_argument("--as", dest="as_format", default="", metavar="NAME", help="what a raw file is (kvm-regs, ...)")
    list_targets(to)


def add_move(to: Parser) -> None:
    """How a VMM restores a vCPU elsewhere: see inspector.targets.moves.Move."""
    from inspector.targets import kernels
    from layouts.x86.vmms import VMMS

    to.add_argument("--kernel", default="", metavar="RELEASE", help=f"of the destination: {kernels.HELP}")
    to.add_argument("--vmm", default="", choices=("", *VMMS), metavar="NAME", help=f"x86: {', '.join(VMMS)}")
    to.add_argument("--model", default="", metavar="LINE", help="x86: the destination's -cpu line or <cpu>")
    to.add_argument("--machine", default="", metavar="TYPE", help="x86: the machine type of --model (pc-q35-9.0)")
    to.add_argument("--abi", default="merged", choices=("merged", "proposal"), help="SVE's interface")
    to.add_argument("--imp-ids", action="store_true", help="with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS")


def list_targets(to: Parser) -> None:
    """What a TARGET may be, behind the examples."""
    wide = max(len(scheme.form) for scheme in SCHEMES)
    targets = "\n".join(f"  {scheme.form:<{wide}}  {scheme.about}" for scheme in SCHEMES)
    to.epilog = f"{to.epilog}\n\ntargets:\n{targets}".lstrip()


def options_of(found: argparse.Namespace) -> Options:
    """The reader options among parsed arguments. Raises UsageError for names that are none."""
    check_layout(found.layout)
    if found.as_format:
        from inspector.readers.kvm_struct import check_as

        check_as(found.as_format)
    return TOLD._replace(layout=found.layout, as_format=found.as_format)


def _note(line: str) -> None:
    note(f"inspector: {line}")


#: Options that nobody gave; what a person should know goes to stderr.
TOLD = Options(note=_note)


def tell(capture: Capture) -> int:
    """Print what a reader had to say to stderr; the exit code of reading."""
    tell_of(capture, _note)
    return ExitCode.UNREADABLE if capture.faults else ExitCode.OK


def choose_vcpus(capture: Capture, wanted: int | None) -> list[Vcpu]:
    """All vCPUs, or the one that ``--vcpu`` names; UsageError when there is none."""
    if wanted is None:
        return capture.vcpus
    if not 0 <= wanted < len(capture.vcpus):
        last = len(capture.vcpus) - 1
        raise UsageError(f"--vcpu {wanted}: {capture.target} has " + (f"vCPUs 0 to {last}" if last >= 0 else "no vCPU"))
    return [capture.vcpus[wanted]]
