"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from inspector.capture.errors import UsageError, visible
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture, Vcpu
from inspector.cli.streams import note
from inspector.readers.options import Options, check_layout
from inspector.targets import kernels
from inspector.targets.notes import tell_of
from inspector.targets.schemes import SCHEMES
from layouts.x86.vmms import VMMS

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """A parser whose messages are safe to print, and whose help says when it cannot be."""

    def error(self, message: str) -> NoReturn:
        """Usage and the message, with what a name of a file brings made visible."""
        super().error(visible(message))

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """The help; argparse's own hides that standard output is full."""
        (file or sys.stdout).write(self.format_help())


def parser(command: str, about: str, examples: str = "") -> argparse.ArgumentParser:
    """A parser for one command."""
    return Parser(
        prog=f"inspector {command}",
        description=about,
        epilog=examples and f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_target(to: argparse.ArgumentParser) -> None:
    """TARGET, ``--layout`` and ``--as``."""
    to.add_argument("target", metavar="TARGET", help="a capture: see targets below")
    _add_reading(to)


def add_targets(to: argparse.ArgumentParser, at_least: int = 1) -> None:
    """The same for one TARGET or more; ``at_least`` 0: also none."""
    to.add_argument("targets", nargs="+" if at_least else "*", metavar="TARGET", help="captures: see targets below")
    _add_reading(to)


def _add_reading(to: argparse.ArgumentParser) -> None:
    to.add_argument("--layout", default="", metavar="NAME", help="CPU layout of XSAVE images (see: layouts list)")
    to.add_argument("--as", dest="as_format", default="", metavar="NAME", help="what a raw file is (kvm-regs, ...)")
    list_targets(to)


def add_move(to: argparse.ArgumentParser) -> None:
    """How a VMM restores a vCPU elsewhere: see inspector.targets.moves.Move."""
    to.add_argument("--kernel", default="", metavar="RELEASE", help=f"of the destination: {kernels.HELP}")
    to.add_argument("--vmm", default="", choices=("", *VMMS), metavar="NAME", help=f"x86: {', '.join(VMMS)}")
    to.add_argument("--model", default="", metavar="LINE", help="x86: the destination's -cpu line or <cpu>")
    to.add_argument("--machine", default="", metavar="TYPE", help="x86: the machine type of --model (pc-q35-9.0)")
    to.add_argument("--abi", default="merged", choices=("merged", "proposal"), help="SVE's interface")
    to.add_argument("--imp-ids", action="store_true", help="with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS")


def list_targets(to: argparse.ArgumentParser) -> None:
    """What a TARGET may be, behind the examples."""
    wide = max(len(scheme.form) for scheme in SCHEMES)
    targets = "\n".join(f"  {scheme.form:<{wide}}  {scheme.about}" for scheme in SCHEMES)
    to.epilog = f"{to.epilog or ''}\n\ntargets:\n{targets}".lstrip()


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
