"""What the Migration screen works on, by words or of a captured vCPU. One architecture's machine is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture, Vcpu
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.moves import Move, mover_of
from inspector.tui.migration_session import MigrationSession, Mover

if TYPE_CHECKING:
    from inspector.tui.id_lab_session import IdLabSession


def session_of(move: Move, options: Options, vcpu_number: int = 0) -> MigrationSession:
    """``inspector open SRC --to DST``. Raises UsageError and InputError."""
    found = mover_of(move.source, options)
    if found.architecture == "arm64" and move.is_x86:
        raise UsageError("--vmm, --model and --machine go with x86 vCPUs")
    if found.capture is None:
        return MigrationSession(_mover_of_word(found.architecture, move, options), move)
    vcpus = found.capture.vcpus
    if not 0 <= vcpu_number < len(vcpus):
        raise UsageError(f"{move.source}: no vCPU {vcpu_number}; it has {len(vcpus)}")
    mover = _mover_of_vcpu(found.capture, vcpus[vcpu_number], options)
    return MigrationSession(mover, move, vcpu=vcpu_number or None)


def session_of_vcpu(capture: Capture, vcpu: Vcpu | None, destination: str) -> MigrationSession:
    """A captured vCPU, edits and all, to a host. Raises UsageError and InputError where it cannot be asked."""
    if vcpu is None:
        raise UsageError("a move is a vCPU's: this capture has none")
    edited = any(area.data is not area.original for area in vcpu.areas)
    number = capture.vcpus.index(vcpu) or None
    move = Move(capture.target, destination)
    return MigrationSession(_mover_of_vcpu(capture, vcpu, NO_OPTIONS), move, vcpu=number, edited=edited)


def session_of_guest(lab: IdLabSession) -> MigrationSession:
    """The guest of the ID-register lab, as it is there, to the lab's second host. Raises UsageError and InputError."""
    from inspector.tui.migration_arm64 import Arm64Mover

    assert lab.other is not None
    source, destination = lab.host_words()
    move = Move(f"model:{lab.name}:{source}", destination, abi=lab.bench.setup.abi)
    edited = bool(lab.bench.setup.words)
    return MigrationSession(Arm64Mover(lab.other.migration.state, NO_OPTIONS), move, edited=edited)


def _mover_of_word(architecture: str, move: Move, options: Options) -> Mover:
    if architecture == "x86":
        from inspector.tui.migration_x86 import X86Mover

        return X86Mover.of_word(move, options)
    from inspector.tui.migration_arm64 import Arm64Mover

    return Arm64Mover.of_word(move, options)


def _mover_of_vcpu(capture: Capture, vcpu: Vcpu, options: Options) -> Mover:
    if vcpu.arch == "arm64":
        from inspector.tui.migration_arm64 import Arm64Mover

        return Arm64Mover.of_vcpu(capture, vcpu, options)
    from inspector.tui.migration_x86 import X86Mover

    return X86Mover.of_vcpu(capture, vcpu, options)
