"""Who acts in an event: the lanes that it goes through."""

from __future__ import annotations

import pytest

from inspector.machine.x86.world.lanes import path_of
from inspector.machine.x86.world.world import World
from inspector.targets.scenarios import scenario_of
from inspector.targets.x86_named import world_of
from tests.machine.support import played, step_of, world


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
    assert exits[-1] == 4


def test_a_signal_of_the_guests_kernel_ends_in_it() -> None:
    """Without permission in the guest, its program's first tile is a SIGILL of the guest's kernel."""
    step = step_of(played("transcript-vm-sigill"), "guest process tileloadd")
    stops = path_of(step).stops
    assert step.outcome.verdict == "signal"
    assert [stop.lane for stop in stops][-1] == "guest kernel"


def test_a_signal_goes_from_the_kernel_to_the_programs_handler() -> None:
    found = world()
    found.play(["signal"])
    assert path_of(found.steps[-1]).lanes == ["host kernel", "VMM"]


def test_an_oops_is_the_hosts_kernels() -> None:
    stops = path_of(step_of(played("host-oops"), "guest xgetbv")).stops
    assert (stops[-1].lane, stops[-1].text) == ("host kernel", "oops")
