"""The verdict on an arm64 vCPU that is to move, by words."""

from __future__ import annotations

from inspector.capture.errors import InputError
from inspector.capture.model import Vcpu
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.migrate import Migration, migrate
from inspector.readers.options import Options
from inspector.targets.arm64_host import captured_state
from inspector.targets.arm64_named import guest_of_word
from inspector.targets.moves import Move
from inspector.targets.schemes import host_of, require


def state_of_word(word: str, options: Options) -> State | None:
    """The first vCPU of a guest with everything that a host has; None for a capture. Raises UsageError."""
    return None if require(word, "arm64").prefix else guest_of_word(word, options)


def state_of_vcpu(target: str, vcpu: Vcpu) -> State:
    """A captured vCPU. Raises InputError where it is none of KVM's."""
    state = captured_state(vcpu, f"{vcpu.name} of {target}")
    if state is None:
        raise InputError(target, "an arm64 vCPU with KVM registers", vcpu.arch)
    return state


def migration_of(state: State, move: Move, options: Options) -> Migration:
    """The verdict on a vCPU's state. Raises UsageError for words that are none, InputError for files that are none."""
    host = host_of(move.destination, "arm64", move.kernel, options)
    return migrate(state, host, abi=move.abi, writable_imp=move.imp_ids)
