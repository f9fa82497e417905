"""PMSWINC_EL0 while the PMU counts, and counters that ran."""

from __future__ import annotations

import pytest

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
