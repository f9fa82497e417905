"""``inspector migrate`` for arm64: would a vCPU arrive on another host."""

from __future__ import annotations

from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.cli.streams import say, say_json
from inspector.export.migration import migration_json, migration_text
from inspector.machine.arm64.captured import State
from inspector.targets.arm64_move import state_of_vcpu, state_of_word, verdict_of
from inspector.targets.moves import Move
from inspector.targets.schemes import capture_of
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def run(found: argparse.Namespace, move: Move, capture: Capture | None) -> int:
    """Restore a vCPU on a host, call by call. ``capture`` is the source, where it has been read."""
    made = verdict_of(_state(found, capture), move, arguments.TOLD)
    if found.json:
        say_json(migration_json(made))
    else:
        say(*migration_text(made, steps=found.steps))
    return ExitCode.of(made.verdict == "arrives")


def _state(found: argparse.Namespace, capture: Capture | None) -> State:
    """A captured vCPU, or the first vCPU of a guest with everything that a host has."""
    state = state_of_word(found.source, arguments.TOLD)
    if state is not None:
        return state
    capture = capture or capture_of(found.source, arguments.TOLD)
    arguments.tell(capture)
    vcpu = arguments.choose_vcpus(capture, found.vcpu if found.vcpu is not None else 0)[0]
    return state_of_vcpu(found.source, vcpu)
