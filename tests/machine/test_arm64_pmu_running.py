"""PMSWINC_EL0 while the PMU counts, and counters that ran."""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import pmu, pmu_running
from layouts.arm64.ids import PMCR
from tests.machine.arm64_bounds import encoding, mrs, msr, pmu_vcpu
from tests.machine.arm64_worlds import answers, empty, read

_ON = ("guest msr PMCR_EL0 1", "guest msr PMCNTENSET_EL0 0x7")


def counting(kernel: str, *events: str) -> list[int | str]:
    """A guest with a PMU, what it did, and its first three counters and overflows then."""
    world = empty(kernel=kernel)
    ready = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 PMU_V3", "KVM_SET_DEVICE_ATTR PMU_V3_INIT")
    world.play([*ready, "KVM_SET_USER_MEMORY_REGION 0 0x0 0x1000000", "KVM_RUN"])
    zero = [f"guest msr PMEV{what}{number}_EL0 0" for what in ("CNTR", "TYPER") for number in range(3)]
    world.play([*zero, "guest msr PMOVSCLR_EL0 0xffffffff", "guest msr PMCNTENCLR_EL0 0xffffffff"])
    assert set(answers(world, *events)) == {"ok"}
    return [read(world, name) for name in ("PMEVCNTR0_EL0", "PMEVCNTR1_EL0", "PMEVCNTR2_EL0", "PMOVSSET_EL0")]


@pytest.mark.parametrize("kernel", ["5.10", "6.1", "7.2"])
def test_kvm_counts_pmswinc_itself(kernel: str) -> None:
    """Counters that are enabled and count SW_INCR go up by one (kvm_pmu_software_increment)."""
    twice = ("guest msr PMSWINC_EL0 0x5", "guest msr PMSWINC_EL0 0x1")
    assert counting(kernel, *_ON, *twice) == [2, 0, 1, 0]
    assert counting(kernel, "guest msr PMCNTENSET_EL0 0x7", *twice) == [0, 0, 0, 0]
    assert counting(kernel, "guest msr PMCR_EL0 1", *twice) == [0, 0, 0, 0]


@pytest.mark.parametrize(("kernel", "overflows"), [("5.10", 0), ("6.1", 1), ("7.2", 1)])
def test_a_chained_counter_goes_on(kernel: str, overflows: int) -> None:
    """The upper half counts the overflow of the lower one; 5.10 notes that of a pair in the upper one alone."""
    full = ("guest msr PMEVCNTR0_EL0 0xffffffff", "guest msr PMEVTYPER1_EL0 0x1e")
    assert counting(kernel, *full, *_ON, "guest msr PMSWINC_EL0 1") == [0, 1, 0, overflows]
    alone = ("guest msr PMEVCNTR2_EL0 0xffffffff",)
    assert counting(kernel, *alone, *_ON, "guest msr PMSWINC_EL0 4") == [0, 0, 0, 4]


def test_what_a_counter_came_to_stays_open_until_it_is_written() -> None:
    ran = ("guest msr PMEVTYPER0_EL0 0x11", *_ON, "guest msr PMCR_EL0 0")
    found = counting("7.2", *ran)
    assert str(found[0]).startswith("depends on how far a counter came")
    assert found[1:] == [0, 0, 0]
    assert counting("7.2", *ran, "guest msr PMEVCNTR0_EL0 9")[0] == 9
    assert counting("7.2", *ran, "guest msr PMCR_EL0 2")[0] == 0
    assert counting("7.2", *ran, "KVM_SET_ONE_REG PMEVCNTR0_EL0 7")[0] == 7


@pytest.mark.parametrize(
    ("events", "cycles"),
    [
        ((), None),
        (("PMUSERENR_EL0 0",), None),
        (("PMCR_EL0 2",), None),
        (("PMCR_EL0 4",), 0),
        (("PMCCNTR_EL0 5", "PMUSERENR_EL0 0"), 5),
    ],
)
def test_what_the_cycle_counter_came_to(events: tuple[str, ...], cycles: int | None) -> None:
    """Open once it ran, until it is written or reset (PMCR_EL0.C)."""
    vcpu = pmu_vcpu()
    for event in ("PMCCNTR_EL0 0", "PMCNTENSET_EL0 0x80000000", "PMCR_EL0 1", "PMCR_EL0 0", *events):
        name, value = event.split()
        assert msr(vcpu, name, int(value, 0)) == "ok"
    assert mrs(vcpu, "PMCCNTR_EL0") == ("depends-on" if cycles is None else cycles)


_LP, _FULL, _WHOLE, _CHAIN, _CYCLES = 1 << 7, (1 << 32) - 1, (1 << 64) - 1, 0x1E, 0x11


def incremented(
    kernel: str, version: int, number: int, values: dict[int, int], chains: tuple[int, ...] = (), *, pmcr: int = 1
) -> tuple[dict[int, int], int]:
    """The counters that are not 0 and the overflows, after one goes up of a PMU with all 31 of them enabled."""
    vcpu = pmu_vcpu(kernel, version=version, counters=31)
    for at in range(31):
        pmu.keep(vcpu, encoding(f"PMEVCNTR{at}_EL0"), values.get(at, 0))
        pmu.keep(vcpu, encoding(f"PMEVTYPER{at}_EL0"), _CHAIN if at in chains else 0)
    for register, value in ((pmu.PMCNTENSET, _FULL), (pmu.PMOVSSET, 0), (PMCR, pmcr | 31 << 11)):
        pmu.keep(vcpu, register, value)
    pmu_running.increment(vcpu, 1 << number)
    found = {at: pmu.stored_value(vcpu, encoding(f"PMEVCNTR{at}_EL0")) for at in range(31)}
    return {at: value for at, value in found.items() if value}, pmu.stored_value(vcpu, pmu.PMOVSSET)


@pytest.mark.parametrize(
    ("version", "pmcr", "before", "after", "overflows"),
    [
        (4, 1, 5, 6, 0),
        (4, 1, _FULL, 0, 1),
        (6, 1, _FULL, 1 << 32, 1),
        (6, 1 | _LP, _FULL, 1 << 32, 0),
        (6, 1 | _LP, _WHOLE, 0, 1),
        (6, 1, _WHOLE, 0, 1),
        (6, 1, 2 << 32, (2 << 32) + 1, 0),
        (4, 1 | _LP, _FULL, 0, 1),
    ],
)
def test_where_a_counter_overflows(version: int, pmcr: int, before: int, after: int, overflows: int) -> None:
    """From PMUv3p5 on behind bit 63 if PMCR_EL0.LP says so (kvm_pmc_has_64bit_overflow)."""
    found = incremented("7.2", version, 0, {0: before}, pmcr=pmcr)
    assert found == ({0: after} if after else {}, overflows)


@pytest.mark.parametrize(
    ("kernel", "number", "chains", "after", "overflows"),
    [
        ("7.2", 2, (3,), {3: 1}, 1 << 2),
        ("7.2", 2, (), {}, 1 << 2),
        ("7.2", 1, (2,), {}, 1 << 1),
        ("7.2", 3, (4,), {}, 1 << 3),
        ("7.2", 28, (29,), {29: 1}, 1 << 28),
        ("7.2", 30, (), {}, 1 << 30),
        ("5.10", 2, (3,), {3: 1}, 0),
        ("5.10", 2, (), {}, 1 << 2),
        ("5.10", 3, (4,), {}, 1 << 3),
        ("5.10", 28, (29,), {29: 1}, 0),
        ("5.10", 30, (), {}, 1 << 30),
    ],
)
def test_which_counters_are_a_pair(
    kernel: str, number: int, chains: tuple[int, ...], after: dict[int, int], overflows: int
) -> None:
    """An even one and the next, which has to be there (kvm_pmu_counter_can_chain)."""
    assert incremented(kernel, 4, number, {number: _FULL}, chains) == (after, overflows)


@pytest.mark.parametrize("kernel", ["5.10", "6.1"])
def test_old_kernels_have_no_long_counters(kernel: str) -> None:
    assert incremented(kernel, 6, 0, {0: _FULL}) == ({}, 1)


def test_a_long_counter_has_no_pair() -> None:
    assert incremented("7.2", 6, 0, {0: _WHOLE}, (1,), pmcr=1 | _LP) == ({}, 1)


@pytest.mark.parametrize(
    ("types", "hardware"),
    [
        ({}, {31}),
        ({0: _CYCLES}, {0, 31}),
        ({1: _CHAIN}, {31}),
        ({2: _CHAIN}, {2, 31}),
        ({4: _CHAIN}, {4, 31}),
        ({5: _CHAIN}, {31}),
        ({2: _CYCLES, 3: _CHAIN, 4: 0}, {2, 3, 31}),
        ({3: _CYCLES}, {3, 31}),
    ],
)
def test_counters_that_the_processor_counts(types: dict[int, int], hardware: set[int]) -> None:
    """All but SW_INCR, and CHAIN behind it; the cycle counter is always one."""
    vcpu = pmu_vcpu(counters=8)
    for at in range(8):
        pmu.keep(vcpu, encoding(f"PMEVTYPER{at}_EL0"), types.get(at, 0))
    pmu.keep(vcpu, pmu.PMCNTENSET, _FULL)
    pmu.keep(vcpu, PMCR, 1 | 8 << 11)
    assert {pmu.NUMBERS.get(one, 31) for one in pmu_running.by_hardware(vcpu)} == hardware
