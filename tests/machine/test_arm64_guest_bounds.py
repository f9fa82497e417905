"""What a guest's MRS and MSR do to registers of the PMU and the timers: each bit of it.

Source: Linux arch/arm64/kvm/sys_regs.c (access_pmcr, access_pmselr, access_pmu_evcntr, access_pmu_evtyper,
access_pmcnten, access_pmovs, access_pmswinc, access_pmuserenr), pmu-emul.c (kvm_pmu_handle_pmcr); Arm ARM,
CNTV_CTL_EL0.
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import guest_writes
from inspector.machine.arm64.host import HAS_EL2
from layouts.arm64.ids import PMCR
from layouts.arm64.listed import (
    TIMER_CNT,
    TIMER_CVAL,
)
from tests.machine.arm64_bounds import (
    ALONE,
    BOTH,
    U64,
    WITH_PMU,
    encoding,
    get,
    mrs,
    msr,
    pmu_host,
    pmu_vcpu,
    put,
    rid,
    vcpu_on,
)


@pytest.mark.parametrize(
    ("levels", "version", "written", "kept"),
    [
        (BOTH, 6, U64, 4 << 11 | 0xF9),
        (BOTH, 5, U64, 4 << 11 | 0x79),
        (ALONE, 6, 0, 4 << 11 | 0x40),
        (BOTH, 6, 0, 4 << 11),
        (BOTH, 6, 2 << 11 | 1, 4 << 11 | 1),
    ],
)
def test_pmcr_written_by_the_guest(levels: int, version: int, written: int, kept: int) -> None:
    vcpu = pmu_vcpu(levels=levels, version=version)
    assert msr(vcpu, "PMCR_EL0", written) == "ok"
    assert get(vcpu, rid("PMCR_EL0")) == mrs(vcpu, "PMCR_EL0") == kept


def test_pmcr_resets_counters() -> None:
    names = ("PMEVCNTR0_EL0", "PMEVCNTR3_EL0", "PMEVCNTR4_EL0", "PMEVTYPER0_EL0", "PMCCNTR_EL0")
    for written, left in ((2, [0, 0, 7, 7, 7]), (4, [7, 7, 7, 7, 0]), (6, [0, 0, 7, 7, 0]), (1, [7] * 5)):
        vcpu = pmu_vcpu()
        assert {put(vcpu, rid(name), 7) for name in names} == {"ok"}
        assert msr(vcpu, "PMCR_EL0", written) == "ok"
        assert [get(vcpu, rid(name)) for name in names] == left
    # P and C that user space wrote are not read.
    assert put(vcpu, rid("PMCR_EL0"), 7) == "ok"
    assert mrs(vcpu, "PMCR_EL0") == 1


def test_sets_and_others_written_by_the_guest() -> None:
    vcpu = pmu_vcpu(version=1)
    for sets, clears in (("PMCNTENSET_EL0", "PMCNTENCLR_EL0"), ("PMOVSSET_EL0", "PMOVSCLR_EL0")):
        assert put(vcpu, rid(sets), 0b0001) == "ok"
        assert msr(vcpu, sets, 0xFFFF_FFF4) == "ok"
        assert get(vcpu, rid(sets)) == 0x8000_0005
        assert msr(vcpu, clears, 0x4) == "ok"
        assert get(vcpu, rid(sets)) == 0x8000_0001
    event = 3 << 30 | 0x3FF
    assert msr(vcpu, "PMEVTYPER3_EL0", U64) == msr(vcpu, "PMCCFILTR_EL0", U64) == "ok"
    assert mrs(vcpu, "PMEVTYPER3_EL0") == mrs(vcpu, "PMCCFILTR_EL0") == event
    assert msr(vcpu, "PMEVTYPER3_EL0", 0x411) == "ok"
    assert mrs(vcpu, "PMEVTYPER3_EL0") == 0x11
    assert msr(vcpu, "PMEVTYPER4_EL0", 0) == msr(vcpu, "PMEVCNTR4_EL0", 0) == "UNDEF"
    assert msr(vcpu, "PMEVCNTR3_EL0", 9) == "ok"
    assert mrs(vcpu, "PMEVCNTR3_EL0") == 9
    assert msr(vcpu, "PMMIR_EL1", 0) == "UNDEF"
    assert msr(vcpu, "PMSWINC_EL0", 1) == "ok"
    assert put(vcpu, rid("PMCR_EL0"), 4 << 11 | 1) == "ok"
    assert msr(vcpu, "PMSWINC_EL0", 1) == "ok"


def test_registers_of_which_a_guest_reads_only_some_bits() -> None:
    """access_pmselr keeps all and shows SEL; access_pmuserenr shows four bits, whatever user space wrote."""
    vcpu = pmu_vcpu()
    assert msr(vcpu, "PMSELR_EL0", 0xFF) == "ok"
    assert (get(vcpu, rid("PMSELR_EL0")), mrs(vcpu, "PMSELR_EL0")) == (0xFF, 0x1F)
    assert msr(vcpu, "PMUSERENR_EL0", 0xFF) == "ok"
    assert get(vcpu, rid("PMUSERENR_EL0")) == mrs(vcpu, "PMUSERENR_EL0") == 0xF
    assert put(vcpu, rid("PMUSERENR_EL0"), 0xFF) == "ok"
    assert (get(vcpu, rid("PMUSERENR_EL0")), mrs(vcpu, "PMUSERENR_EL0")) == (0xFF, 0xF)


def test_a_counter_that_runs_is_left_open() -> None:
    vcpu = pmu_vcpu()
    names = ("PMCCNTR_EL0", "PMEVCNTR1_EL0", "PMEVCNTR2_EL0", "PMEVTYPER1_EL0")
    assert put(vcpu, rid("PMCNTENSET_EL0"), 1 << 31 | 2) == "ok"
    assert {put(vcpu, rid(name), 7) for name in names} == {"ok"}
    assert [mrs(vcpu, name) for name in names] == [7] * 4
    assert put(vcpu, rid("PMCR_EL0"), 4 << 11 | 1) == "ok"
    assert [mrs(vcpu, name) for name in names] == ["depends-on", "depends-on", 7, 7]
    assert put(vcpu, rid("PMCNTENSET_EL0"), 4) == "ok"
    assert [mrs(vcpu, name) for name in names] == [7, 7, "depends-on", 7]
    assert put(vcpu, rid("PMCNTENSET_EL0"), 1) == put(vcpu, rid("PMEVCNTR0_EL0"), 7) == "ok"
    assert mrs(vcpu, "PMEVCNTR0_EL0") == "depends-on"


def test_writes_that_are_left_open() -> None:
    vcpu = pmu_vcpu()
    vcpu.features = WITH_PMU | HAS_EL2
    for name in ("PMCR_EL0", "PMUSERENR_EL0", "PMEVCNTR30_EL0"):
        assert msr(vcpu, name, 0) == "depends-on"
    assert msr(vcpu, "CNTV_CVAL_EL0", 1) == "ok"


def test_timers_of_the_guest() -> None:
    """KVM's ids of the virtual counter and its compare value are swapped."""
    assert guest_writes.kept_as(TIMER_CNT) == TIMER_CVAL
    assert guest_writes.kept_as(TIMER_CVAL) == TIMER_CNT
    assert guest_writes.kept_as(PMCR) == PMCR
    for control, compare in (("CNTV_CTL_EL0", "CNTV_CVAL_EL0"), ("CNTP_CTL_EL0", "CNTP_CVAL_EL0")):
        vcpu = vcpu_on(pmu_host())
        assert mrs(vcpu, control) == "depends-on", "off: ISTATUS is UNKNOWN"
        assert msr(vcpu, control, 0xF) == "ok"
        assert vcpu.values[rid(control)] == b"\3".ljust(8, b"\0")
        assert mrs(vcpu, control) == 7, "the compare value 0 is behind"
        assert msr(vcpu, compare, 1) == "ok"
        assert mrs(vcpu, control) == "depends-on"
        assert mrs(vcpu, compare) == 1
        assert msr(vcpu, control, 2) == "ok"
        assert mrs(vcpu, control) == "depends-on"
    assert mrs(vcpu, "CNTVCT_EL0") == mrs(vcpu, "CNTPCT_EL0") == "depends-on"
    assert msr(vcpu, "CNTVCT_EL0", 0) == msr(vcpu, "CNTPCT_EL0", 0) == "UNDEF"
    assert msr(vcpu, "CNTHP_CTL_EL2", 0) == "depends-on"


def test_a_timer_is_there_without_a_pmu() -> None:
    """On 5.10 such a guest reads 0 of the PMU's registers."""
    vcpu = vcpu_on(pmu_host("5.10"))
    assert msr(vcpu, "CNTV_CVAL_EL0", 5) == msr(vcpu, "PMUSERENR_EL0", 5) == "ok"
    assert (mrs(vcpu, "CNTV_CVAL_EL0"), mrs(vcpu, "PMUSERENR_EL0")) == (5, 0)


def test_which_registers_do_more_than_hold_a_value() -> None:
    vcpu = pmu_vcpu()
    for name in ("PMCR_EL0", "PMUSERENR_EL0", "PMCCFILTR_EL0", "CNTV_CTL_EL0"):
        assert guest_writes.has_effects(vcpu, encoding(name))
    assert not guest_writes.has_effects(vcpu, encoding("TTBR0_EL1"))
