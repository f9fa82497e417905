"""Arm64 worlds for tests, and what happens in them as short answers."""

from __future__ import annotations

from inspector.machine.arm64.world.world import Arm64World
from inspector.targets.arm64_world import world_of
from layouts.arm64.scenarios import scenarios
from layouts.scenario import Scenario


def played(name: str, **changed: object) -> Arm64World:
    """A scenario at its end, on other hosts or with another interface where they are named."""
    scenario = scenarios()[name]._replace(**changed)  # type: ignore[arg-type]
    world = world_of(scenario)
    world.play(scenario.events)
    return world


def empty(*hosts: str, abi: str = "merged", kernel: str = "7.2") -> Arm64World:
    first, *others = hosts or ("neoverse-v1",)
    return world_of(Scenario("new", "", (), "", host=first, policy=abi, kernel=kernel, destinations=tuple(others)))


def answers(world: Arm64World, *events: str) -> list[str]:
    return [world.happen(event).outcome.name for event in events]


def read(world: Arm64World, register: str) -> int | str:
    """What the guest reads: a value, or why none."""
    outcome = world.happen(f"guest mrs {register}").outcome
    return outcome.value if outcome.accepted else outcome.because


READY = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2")
