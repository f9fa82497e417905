"""``inspector migrate`` for x86: would a vCPU arrive, which bit, who decided, what to change."""

from __future__ import annotations

from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.cli.streams import say, say_json
from inspector.export.x86_migration import x86_migration_json, x86_migration_text
from inspector.machine.x86.migrate.guest import Guest
from inspector.targets.moves import Move
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_vcpu
from inspector.targets.x86_move import guest_of_word, migration_of, vmm_of
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def run(found: argparse.Namespace, move: Move, capture: Capture | None) -> int:
    """Restore a vCPU on a host as a VMM does, call by call. ``capture`` is the source, where that is one."""
    destination = destination_of(move.destination, move.kernel, arguments.TOLD)
    verdict = migration_of(_guest(found, capture), destination, move._replace(vmm=move.vmm or vmm_of(capture)))
    if found.json:
        say_json(x86_migration_json(verdict))
    else:
        say(*x86_migration_text(verdict, steps=found.steps, bits=found.bits))
    return ExitCode.of(verdict.verdict == "arrives")


def _guest(found: argparse.Namespace, capture: Capture | None) -> Guest:
    if capture is None:
        return guest_of_word(found.source, found.machine, arguments.TOLD)
    arguments.tell(capture)
    vcpu = arguments.choose_vcpus(capture, found.vcpu if found.vcpu is not None else 0)[0]
    return guest_of_vcpu(capture, vcpu, arguments.TOLD)
