"""Random events of the arm64 world: undo is exact, what cannot happen or is refused leaves nothing behind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from inspector.targets.arm64_world import world_of
from layouts.scenario import Scenario
from tests.machine.arm64_events import START, event

HOSTS = (
    "neoverse-v1",
    "max,nested=on",
    "a64fx@6.18",
    "cortex-a57@5.10",
    "max,mte=on",
    "neoverse-n1@6.1",
    "grace",
    "max,pkvm=on",
)
SEEDS, SEQUENCES, LENGTH = 4, 12, 24


def everything(world: Arm64World) -> list[Any]:
    """All that VMs, vCPUs and the VMM hold, to the byte."""

    def held(of: object) -> dict[str, Any]:
        return {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in vars(of).items()
            if name not in ("host", "vm", "vcpus")
        }

    found: list[Any] = [held(world.saved)]
    for node in world.nodes:
        for vm in node.vms.values():
            found += [held(vm), *((number, held(vcpu)) for number, vcpu in sorted(vm.vcpus.items()))]
    return found


def worlds(pick: random.Random) -> Iterator[tuple[Arm64World, list[str]]]:
    """Worlds of two hosts, with the events that are to happen."""
    for _ in range(SEQUENCES):
        abi = pick.choice(("merged", "merged", "proposal"))
        one, other = pick.choice(HOSTS), pick.choice(HOSTS)
        world = world_of(Scenario("new", "", (), "", host=one, kernel="", policy=abi, destinations=(other,)))
        init = f"KVM_ARM_VCPU_INIT {pick.choice(('PSCI_0_2', 'PSCI_0_2 SVE', 'PSCI_0_2 PMU_V3'))}"
        start = (*START, init) if pick.random() < 0.7 else ()
        yield world, [*start, *(event(pick) for _ in range(LENGTH))]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_cannot_happen_and_what_is_undone_leave_nothing(seed: int) -> None:
    pick, impossible = random.Random(seed), 0
    for world, events in worlds(pick):
        for words in events:
            before, count = everything(world), len(world.steps)
            try:
                world.happen(words)
            except EventError:
                impossible += 1
                assert everything(world) == before, words
                assert len(world.steps) == count
                continue
            if pick.random() < 0.1:
                undone = world.undo()
                assert undone is not None
                assert undone.event == words
                assert everything(world) == before, words
                world.happen(words)
        after = everything(world)
        again = world.anew()
        again.play([step.event for step in world.steps])
        assert everything(again) == after
        assert [step.outcome for step in again.steps] == [step.outcome for step in world.steps]
    assert impossible > 10


#: Refused calls that leave something: the first run's own order, INIT of old kernels bit by bit, all registers at once.
PARTLY = ("KVM_RUN", "guest ", "KVM_ARM_VCPU_INIT", "KVM_SET_ONE_REG saved", "KVM_SET_DEVICE_ATTR VGIC")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_refused_event_leaves_the_state(seed: int) -> None:
    pick, refused = random.Random(100 + seed), 0
    for world, events in worlds(pick):
        for words in events:
            before = everything(world)
            try:
                outcome = world.happen(words).outcome
            except EventError:
                continue
            if outcome.verdict == "errno" and not words.startswith(PARTLY):
                refused += 1
                assert everything(world) == before, (words, outcome)
            assert outcome.verdict in ("ok", "errno", "exception", "short", "depends-on")
            assert outcome.accepted or not outcome.checks[-1].held
    assert refused > 20
