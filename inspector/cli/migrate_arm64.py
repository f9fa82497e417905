"""``inspector migrate`` for arm64: would a vCPU arrive on another host."""

from __future__ import annotations

import argparse

from inspector.capture.errors import InputError
from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import say, say_json
from inspector.export.migration import migration_json, migration_text
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.migrate import migrate
from inspector.targets import arm64_named
from inspector.targets.arm64_host import captured_state
from inspector.targets.schemes import capture_of, host_of, require


def run(found: argparse.Namespace) -> int:
    """Restore a vCPU on a host, call by call."""
    state = _state(found.source, found.vcpu)
    host = host_of(found.destination, "arm64", found.kernel, arguments.TOLD)
    made = migrate(state, host, abi=found.abi, writable_imp=found.imp_ids)
    if found.json:
        say_json(migration_json(made))
    else:
        say(*migration_text(made, steps=found.steps))
    return ExitCode.of(made.accepted and not made.open)


def _state(text: str, number: int | None) -> State:
    """A captured vCPU, or the first vCPU of a guest with everything that a host has."""
    scheme = require(text, "arm64")
    guest = None if scheme.prefix else arm64_named.guest_of_word(text, arguments.TOLD)
    if guest is not None:
        return guest
    capture = capture_of(text, arguments.TOLD)
    arguments.tell(capture)
    vcpu = arguments.choose_vcpus(capture, number if number is not None else 0)[0]
    state = captured_state(vcpu, f"{vcpu.name} of {text}")
    if state is None:
        raise InputError(text, "an arm64 vCPU with KVM registers", vcpu.arch)
    return state
