"""Worlds for tests of the x86 machine, and hosts of arm64."""

from __future__ import annotations

from typing import Any

from inspector.machine.arm64.host import Host as Arm64Host
from inspector.machine.world import WorldStep
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.world.state import VcpuState
from inspector.machine.x86.world.world import World
from inspector.targets.scenarios import scenario_of
from inspector.targets.schemes import host_of
from inspector.targets.x86_named import world_of
from layouts.x86.kernels import POLICIES, Policy, policies, profile_for
from layouts.x86.scenarios import scenarios


def host_named(word: str) -> Arm64Host:
    """A host of arm64 by its word."""
    return host_of(word, "arm64")


def world(cpu: str = "sapphire-rapids", kernel: str = "7.2", policy: Policy = POLICIES[0]) -> World:
    return World(Host(shipped_cpu(cpu), profile_for(kernel)), policy)


PERMITTED = ("arch_prctl REQ_XCOMP_GUEST_PERM 18", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported")


def vcpu_of(found: World, number: int = 0) -> VcpuState:
    """The state of a vCPU that is there."""
    state = found.vcpu_state(number)
    assert state is not None
    return state


def policy_of(name: str) -> Policy:
    return policies()[name]


def events_of(name: str) -> tuple[str, ...]:
    """The events of a scenario."""
    return scenarios()[name].events


def played(name: str) -> World:
    """A scenario's world behind all of its events."""
    scenario = scenario_of(name)
    found = world_of(scenario)
    found.play(scenario.events)
    return found


def step_of(found: World, event: str) -> WorldStep[Any]:
    """The first step whose event begins so."""
    return next(step for step in found.steps if step.event.startswith(event))
