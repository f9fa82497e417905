"""The verdict on an arm64 vCPU that is to move, by words."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.errors import InputError, InspectorError
from inspector.capture.model import Vcpu
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.migrate import migrate
from inspector.machine.arm64.verdict import Verdict
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.arm64_host import captured_state
from inspector.targets.arm64_named import guest_of_word
from inspector.targets.kernels import split
from inspector.targets.moves import Move
from inspector.targets.schemes import host_of, require
from layouts.arm64.kernels import kernels
from layouts.by_name import ByName


def state_of_word(word: str, options: Options) -> State | None:
    """The first vCPU of a guest with everything that a host has; None for a capture. Raises UsageError."""
    return None if require(word, "arm64").prefix else guest_of_word(word, options)


def state_of_vcpu(target: str, vcpu: Vcpu) -> State:
    """A captured vCPU. Raises InputError where it is none of KVM's."""
    state = captured_state(vcpu, f"{vcpu.name} of {target}")
    if state is None:
        raise InputError(target, "an arm64 vCPU with KVM registers", vcpu.arch)
    return state


def verdict_of(state: State, move: Move, options: Options) -> Verdict:
    """The verdict on a vCPU's state. Raises UsageError for words that are none, InputError for files that are none."""
    host = host_of(move.destination, "arm64", move.kernel, options)
    made = migrate(state, host, abi=move.abi, writable_imp=move.imp_ids)
    others = {} if made.possible else under_each_kernel(move.destination)
    return Verdict(made, others, abi=move.abi, writable_imp=move.imp_ids)


def under_each_kernel(word: str) -> Mapping[str, Host]:
    """A destination under every kernel whose KVM is known, by release; none where the word has a kernel of its own."""
    name, _ = split(word)
    found = ByName(kernels(), lambda release: host_of(f"{name}@{release}", "arm64", "", NO_OPTIONS))
    try:
        found[next(iter(found))]
    except InspectorError:
        return {}
    return found
