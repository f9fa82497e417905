"""What a guest's accesses to its PMU do by kernel, and what the first run does to PMCR_EL0.

Source: Linux arch/arm64/kvm/sys_regs.c (access_pmcr, access_pmu_evcntr, access_pmu_evtyper, access_pmcnten,
access_pmovs, access_pmselr, access_pmuserenr, read_from_write_only, trap_raz_wi), pmu-emul.c (kvm_pmu_handle_pmcr,
kvm_pmu_set_counter_value, kvm_pmu_set_counter_event_type, kvm_pmu_create_perf_event), arm.c (KVM_REQ_RELOAD_PMU).
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PSCI_0_2
from inspector.machine.arm64.vcpu import Vcpu
from layouts.arm64.listed import UNKNOWN
from tests.machine.arm64_bounds import ALONE, BOTH, HOSTS_PMCR, U64, WITH_PMU, get, mrs, msr, pmu_vcpu, put, rid

HIGH = UNKNOWN & ~0xFFFF_FFFF
OLD = ("5.10", "6.1")


def running(kernel: str, **what: int) -> Vcpu:
    """A vCPU with a PMU that ran."""
    vcpu = pmu_vcpu(kernel, **what)
    vcpu.pmu_created = True
    assert vcpu.enter().accepted
    return vcpu


@pytest.mark.parametrize(
    ("kernel", "levels", "written", "kept"),
    [
        # 5.10 keeps P and C, which the guest does not read; LP is there on both, whatever the PMU's version.
        ("5.10", BOTH, U64, 0xFF),
        ("5.10", BOTH, 0, 0),
        ("5.10", ALONE, 0, 0x40),
        ("6.1", BOTH, U64, 0xF9),
        ("6.1", BOTH, 0x80, 0x80),
        ("6.1", ALONE, 0, 0x40),
        ("6.6", BOTH, U64, 0x79),
    ],
)
def test_pmcr(kernel: str, levels: int, written: int, kept: int) -> None:
    vcpu = running(kernel, levels=levels, version=5)
    above = 4 << 11 if kernel == "6.6" else HOSTS_PMCR & ~0xFF
    assert msr(vcpu, "PMCR_EL0", written) == "ok"
    assert get(vcpu, rid("PMCR_EL0")) == above | kept
    assert mrs(vcpu, "PMCR_EL0") == above | kept & ~6


@pytest.mark.parametrize("kernel", OLD)
@pytest.mark.parametrize(("written", "left"), [(2, [0, 0, 7, 7]), (4, [7, 7, 7, 0]), (6, [0, 0, 7, 0]), (0, [7] * 4)])
def test_pmcr_resets_counters(kernel: str, written: int, left: list[int]) -> None:
    vcpu = running(kernel)
    names = ("PMEVCNTR0_EL0", "PMEVCNTR3_EL0", "PMEVCNTR4_EL0", "PMCCNTR_EL0")
    assert {put(vcpu, rid(name), 7) for name in names} == {"ok"}
    assert msr(vcpu, "PMCR_EL0", written) == "ok"
    assert [get(vcpu, rid(name)) for name in names] == left


def test_long_counters_are_there_since_3p5() -> None:
    """PMCR_EL0.LP since 6.6, where the VM's PMUVer is 6 or more (kvm_has_feat, PMUv3p5)."""
    assert [mrs_of_pmcr(version) & 0x80 for version in (5, 6)] == [0, 0x80]


def mrs_of_pmcr(version: int) -> int:
    vcpu = running("6.6", version=version)
    assert msr(vcpu, "PMCR_EL0", U64) == "ok"
    found = mrs(vcpu, "PMCR_EL0")
    assert isinstance(found, int)
    return found


def test_the_only_counter_is_reset() -> None:
    vcpu = running("6.6", counters=1)
    assert put(vcpu, rid("PMEVCNTR0_EL0"), 7) == msr(vcpu, "PMCR_EL0", 2) == "ok"
    assert get(vcpu, rid("PMEVCNTR0_EL0")) == 0


def test_a_first_run_without_a_pmu_leaves_its_registers() -> None:
    vcpu = pmu_vcpu("6.6", PSCI_0_2)
    before = dict(vcpu.values)
    assert vcpu.enter().accepted
    assert vcpu.values == before


def test_what_el1_cannot_access() -> None:
    vcpu = running("6.6")
    assert msr(vcpu, "PMMIR_EL1", 0) == mrs(vcpu, "PMSWINC_EL0") == "UNDEF"


@pytest.mark.parametrize("kernel", [*OLD, "6.6", "7.2"])
@pytest.mark.parametrize("name", ["PMEVCNTR{}_EL0", "PMEVTYPER{}_EL0"])
def test_counters_that_the_guest_has_not(kernel: str, name: str) -> None:
    """pmu_counter_idx_valid, of reads and writes; the cycle counter is always there."""
    vcpu = running(kernel)
    for number, answers in ((3, "ok"), (4, "UNDEF"), (30, "UNDEF")):
        assert msr(vcpu, name.format(number), 1) == answers
        assert mrs(vcpu, name.format(number)) == (1 if answers == "ok" else answers)
    assert msr(vcpu, "PMCCFILTR_EL0", 1 << 31) == msr(vcpu, "PMCCNTR_EL0", U64) == "ok"
    assert (mrs(vcpu, "PMCCFILTR_EL0"), mrs(vcpu, "PMCCNTR_EL0")) == (1 << 31, U64)
    assert msr(vcpu, "PMCCNTR_EL0", 1) == "ok"
    assert mrs(vcpu, "PMCCNTR_EL0") == 1


@pytest.mark.parametrize(("kernel", "reads"), [("5.10", 0x8000_0008), ("6.1", U64 & ~7), ("6.6", U64 & ~7)])
def test_sets(kernel: str, reads: int) -> None:
    """Only counters that are there are set and cleared; 5.10 also shows no others."""
    vcpu = running(kernel)
    for kept, other in (("PMCNTENSET_EL0", "PMCNTENCLR_EL0"), ("PMOVSSET_EL0", "PMOVSCLR_EL0")):
        assert put(vcpu, rid(kept), 0) == msr(vcpu, kept, U64) == "ok"
        assert get(vcpu, rid(kept)) == mrs(vcpu, other) == 0x8000_000F
        assert msr(vcpu, other, 3) == "ok"
        assert get(vcpu, rid(kept)) == mrs(vcpu, kept) == 0x8000_000C
        assert put(vcpu, rid(kept), U64) == msr(vcpu, other, 7) == "ok"
        assert (get(vcpu, rid(kept)), mrs(vcpu, kept)) == (U64 & ~7, reads)


@pytest.mark.parametrize(
    ("kernel", "version", "kept", "shown"),
    [
        ("5.10", 1, 0xC800_FFFF, 0xC800_FFFF),
        ("6.1", 1, 0xC800_FFFF, 0xC800_FFFF),
        # Since 6.5 the version's events alone; 6.6 shows the rest of what user space wrote no more than before.
        ("6.6", 1, 0xC000_03FF, 0xC800_FFFF),
        ("6.12", 1, 0xC000_03FF, U64),
        ("7.2", 4, 0xC000_FFFF, U64),
    ],
)
def test_event_types(kernel: str, version: int, kept: int, shown: int) -> None:
    vcpu = running(kernel, version=version)
    for name in ("PMEVTYPER0_EL0", "PMCCFILTR_EL0"):
        assert msr(vcpu, name, U64) == "ok"
        assert get(vcpu, rid(name)) == mrs(vcpu, name) == kept
        assert put(vcpu, rid(name), U64) == "ok"
        assert mrs(vcpu, name) == shown


@pytest.mark.parametrize("kernel", OLD)
def test_registers_that_hold_more_than_is_read(kernel: str) -> None:
    vcpu = running(kernel)
    assert msr(vcpu, "PMSELR_EL0", 0xFF) == msr(vcpu, "PMUSERENR_EL0", 0xFF) == "ok"
    assert (get(vcpu, rid("PMSELR_EL0")), mrs(vcpu, "PMSELR_EL0")) == (0xFF, 0x1F)
    assert get(vcpu, rid("PMUSERENR_EL0")) == mrs(vcpu, "PMUSERENR_EL0") == 0xF


@pytest.mark.parametrize("kernel", [*OLD, "7.2"])
def test_pmswinc_is_only_written(kernel: str) -> None:
    """read_from_write_only; a PMU that is off counts nothing."""
    vcpu = running(kernel)
    assert mrs(vcpu, "PMSWINC_EL0") == "UNDEF"
    assert msr(vcpu, "PMSWINC_EL0", U64) == "ok"
    assert put(vcpu, rid("PMCR_EL0"), 4 << 11 | 1) == "ok"
    assert msr(vcpu, "PMSWINC_EL0", 1) == "ok"


def test_bits_above_31_of_counters_on_5_10() -> None:
    """They stay until the perf event behind a counter is released; the guest never reads them."""
    vcpu, name = running("5.10"), "PMEVCNTR0_EL0"
    # The event type is unknown after reset, and no SW_INCR: the first write makes an event.
    assert msr(vcpu, name, 5) == "ok"
    assert (get(vcpu, rid(name)), mrs(vcpu, name)) == (HIGH | 5, 5)
    assert msr(vcpu, name, 7) == "ok"
    assert (get(vcpu, rid(name)), mrs(vcpu, name)) == (7, 7)
    # Without an event (SW_INCR) they stay.
    assert msr(vcpu, "PMEVTYPER0_EL0", 0) == put(vcpu, rid(name), HIGH | 9) == msr(vcpu, name, 1) == "ok"
    assert get(vcpu, rid(name)) == HIGH | 1
    assert msr(vcpu, name, 2) == "ok"
    assert get(vcpu, rid(name)) == HIGH | 2
    # The difference is added, carries and all.
    assert put(vcpu, rid(name), HIGH) == msr(vcpu, name, 3 << 32) == "ok"
    assert get(vcpu, rid(name)) == HIGH + (3 << 32)


@pytest.mark.parametrize(
    ("by", "makes"),
    [
        ("PMCR_EL0", True),
        # Enabling makes an event where the PMU is on alone, disabling always.
        ("PMCNTENSET_EL0", False),
        ("PMCNTENCLR_EL0", True),
        ("PMINTENSET_EL1", False),
        ("PMEVTYPER0_EL0", True),
    ],
)
def test_what_makes_a_perf_event_on_5_10(by: str, makes: bool) -> None:
    vcpu = running("5.10")
    assert put(vcpu, rid("PMEVTYPER0_EL0"), 1) == msr(vcpu, by, 0x38 if by == "PMCR_EL0" else 1) == "ok"
    assert (0 in vcpu.pmu_events) is makes
    assert vcpu.init(WITH_PMU).accepted
    assert not vcpu.pmu_events


def test_a_pmu_that_is_on_makes_events_of_what_is_enabled_on_5_10() -> None:
    vcpu = running("5.10")
    assert put(vcpu, rid("PMCNTENSET_EL0"), 2) == msr(vcpu, "PMCR_EL0", 1) == "ok"
    assert vcpu.pmu_events == {1}
    assert msr(vcpu, "PMCNTENSET_EL0", 5) == "ok"
    assert vcpu.pmu_events == {0, 1, 2}


@pytest.mark.parametrize(("features", "created", "late"), [(4, False, False), (WITH_PMU, False, True)])
def test_5_10_shows_a_vcpu_without_pmu_registers_that_are_zero(features: int, created: bool, late: bool) -> None:
    """trap_raz_wi; a PMU that is initialized after the first run never gets ready."""
    vcpu = pmu_vcpu("5.10", features)
    vcpu.pmu_created = created
    assert vcpu.enter().accepted
    vcpu.pmu_created = late
    assert vcpu.enter().accepted
    for name in ("PMCR_EL0", "PMEVCNTR30_EL0", "PMCNTENSET_EL0", "PMUSERENR_EL0", "PMCCFILTR_EL0"):
        held = get(vcpu, rid(name))
        assert msr(vcpu, name, U64) == "ok"
        assert (get(vcpu, rid(name)), mrs(vcpu, name)) == (held, 0)


@pytest.mark.parametrize(
    ("kernel", "written", "left", "cycles", "events"),
    [
        # What reset leaves has C: 0xac.
        ("6.1", None, HOSTS_PMCR & ~0xFF | 0xA8, 0, 7),
        ("5.10", None, HOSTS_PMCR & ~0xFF | 0xAC, 7, 7),
        ("6.6", 4 << 11 | 0x86, 4 << 11, 0, 0),
        ("6.12", 4 << 11 | 0x82, 4 << 11, 7, 0),
        ("6.12", 4 << 11 | 4, 4 << 11, 0, 7),
        ("6.16", 4 << 11 | 0x86, 4 << 11 | 0x86, 7, 7),
        ("7.2", 4 << 11 | 0x86, 4 << 11 | 0x86, 7, 7),
    ],
)
def test_pmcr_at_the_first_run(kernel: str, written: int | None, left: int, cycles: int, events: int) -> None:
    """Until 6.12 a first run does with P, C and LP what a guest's write does, and none that follows."""
    vcpu = pmu_vcpu(kernel, version=5)
    vcpu.pmu_created = True
    if written is not None:
        assert put(vcpu, rid("PMCR_EL0"), written) == "ok"
    assert put(vcpu, rid("PMCCNTR_EL0"), 7) == put(vcpu, rid("PMEVCNTR0_EL0"), 7) == "ok"
    assert vcpu.enter().accepted
    assert [get(vcpu, rid(name)) for name in ("PMCR_EL0", "PMCCNTR_EL0", "PMEVCNTR0_EL0")] == [left, cycles, events]
    assert put(vcpu, rid("PMCR_EL0"), 4 << 11 | 6) == put(vcpu, rid("PMCCNTR_EL0"), 7) == "ok"
    assert vcpu.enter().accepted
    assert get(vcpu, rid("PMCCNTR_EL0")) == 7


def test_a_vcpu_without_pmu_runs_without_its_registers() -> None:
    vcpu = pmu_vcpu("6.1", 4)
    assert vcpu.enter().accepted
    assert not vcpu.pmu_ready
    assert get(vcpu, rid("PMCR_EL0")) == "ENOENT"
