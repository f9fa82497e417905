"""The timeline as swim lanes, without a screen."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.machine.world import WorldStep
from inspector.machine.x86.world.lanes import path_of
from inspector.machine.x86.world.world import World
from inspector.targets.scenarios import scenario_of
from inspector.targets.x86_named import world_of
from inspector.tui.drawn import Drawn
from inspector.tui.lanes import LEAST_WIDTH, coming_line, lane_names, lanes_heading, lanes_line, path_lines


def played(name: str) -> World:
    scenario = scenario_of(name)
    world = world_of(scenario)
    world.play(scenario.events)
    return world


def step_of(world: World, event: str) -> WorldStep[Any]:
    return next(step for step in world.steps if step.event.startswith(event))


def text_of(drawn: Drawn) -> str:
    return "".join(piece.text for piece in drawn)


@pytest.mark.parametrize(
    ("scenario", "event", "lanes", "native"),
    [
        ("guest-xfd", "KVM_SET_CPUID2", ["VMM", "host kernel"], False),
        ("guest-xfd", "guest xsetbv", ["guest kernel", "host kernel"], False),
        ("guest-xfd", "guest ldtilecfg", ["guest kernel", "vCPU"], True),
        ("guest-xfd", "guest tileloadd", ["guest kernel", "host kernel"], False),
        # XFD_ERR may be read once CPUID has XFD (vmx_recalc_msr_intercepts); writes of it exit.
        ("guest-xfd", "guest rdmsr XFD_ERR", ["guest kernel", "vCPU"], True),
        ("guest-xfd", "guest wrmsr XFD_ERR", ["guest kernel", "host kernel"], False),
        ("rfc-preempt", "KVM_RUN", ["VMM", "host kernel", "vCPU"], False),
        ("rfc-preempt", "preempt", ["vCPU", "host kernel"], False),
        ("rfc-preempt", "return", ["vCPU", "host kernel", "VMM"], False),
        # That tiles will be lost is said when XFD is written; nobody leaves the guest for it.
        ("rfc-preempt", "guest wrmsr XFD 0x40000", ["guest kernel", "vCPU"], True),
        ("transcript-vm-amx", "guest process ldtilecfg", ["guest program", "vCPU"], True),
        ("transcript-vm-amx", "guest arch_prctl", ["guest program", "guest kernel", "vCPU"], True),
    ],
)
def test_who_acts(scenario: str, event: str, lanes: list[str], native: bool) -> None:
    found = path_of(step_of(played(scenario), event))
    assert (found.lanes, found.native) == (lanes, native)


def test_the_first_tile_of_a_guests_program_goes_through_both_kernels() -> None:
    stops = path_of(step_of(played("transcript-vm-amx"), "guest process tileloadd")).stops
    assert [stop.lane for stop in stops[:6]] == [
        "guest program",
        *["host kernel"] * 3,
        "vCPU",
        "guest kernel",
    ]
    assert "#NM is queued" in stops[3].text


def test_an_instruction_of_the_hosts_program_comes_to_the_kernel_by_an_exception() -> None:
    world = World(world_of(scenario_of("new")).host)
    world.play(["process wrpkru 0", "process tileloadd 0", "schedule"])
    assert [path_of(step).lanes for step in world.steps] == [["VMM"], ["VMM", "host kernel"], ["host kernel"]]


def test_a_read_that_kvm_intercepts_leaves_the_guest() -> None:
    world = played("no-amx-in-guest")
    world.play(["KVM_RUN", "guest rdmsr XSS"])
    before = world.steps[-2].costs["vm_exits"]
    assert path_of(world.steps[-1]).lanes == ["guest kernel", "host kernel"]
    assert world.steps[-1].costs["vm_exits"] == before + 1


def test_costs_grow_with_the_events() -> None:
    steps = played("guest-xfd").steps
    assert [step.costs["allocated_bytes"] for step in steps[:3]] == [0, 2560, 2560 + 10752]
    exits = [step.costs["vm_exits"] for step in steps]
    assert exits == sorted(exits)
    assert exits[-1] == 8


@pytest.mark.parametrize("width", [LEAST_WIDTH, 78, 100, 118, 158, 218])
def test_lines_stand_below_their_names(width: int) -> None:
    steps = played("guest-xfd").steps
    heading = text_of(lanes_heading(width))
    for number, step in enumerate(steps, 1):
        line = text_of(lanes_line(step, number, width))
        assert len(line) == len(heading) <= width, line
    at = heading.index("VMM") + 1
    assert text_of(lanes_line(steps[0], 1, width))[at] == "●"
    assert text_of(coming_line("KVM_RUN", 9, width))[at] == "│"
    assert lane_names(width, "─")[at] == "M"


def test_a_refused_event_is_drawn_as_such() -> None:
    step = step_of(played("guest-xfd"), "guest tileloadd")
    drawn = lanes_line(step, 7, 78)
    assert "◀──────┼──────●" in text_of(drawn)
    assert [piece.style for piece in drawn if "#NM" in piece.text] == ["bad"]
    assert text_of(path_lines(step, 78)[-1]).endswith("→ #NM")
