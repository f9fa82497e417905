"""Registers of the PMU, of timers and others that reset and writes treat by a rule: each bit of it, by kernel.

Source: Linux arch/arm64/kvm/sys_regs.c (reset_pmu_reg, reset_pmevtyper, reset_pmcr, set_pmcr, set_pmreg, access_pmcr,
access_pmselr, access_pmcnten, access_pmuserenr), pmu-emul.c (kvm_pmu_evtyper_mask, kvm_vcpu_read_pmcr,
kvm_pmu_handle_pmcr), arch_timer.c (read_timer_ctl); since 6.18 sys_regs.c (arch_timer_get_user).
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import el2_masks, held, pmu, timers
from inspector.machine.arm64.arch import AtReset
from inspector.machine.arm64.el2_masks import Resx
from inspector.machine.arm64.host import HAS_EL2, PMU_V3_STRICT, PSCI_0_2, Host
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import DFR0, MMFR4, PFR0, PMCR, PSTATE, sysreg_id
from layouts.arm64.kernels import kernels
from layouts.arm64.listed import (
    PTIMER_CNT,
    PTIMER_CTL,
    PTIMER_CVAL,
    TIMER_CNT,
    TIMER_CTL,
    TIMER_CVAL,
    UNKNOWN,
    condition,
)
from tests.machine.arm64_bounds import (
    ALONE,
    BOTH,
    HOSTS_PMCR,
    U64,
    WITH_PMU,
    encoding,
    get,
    pmu_host,
    pmu_vcpu,
    put,
    rid,
    vcpu_on,
)

SETS = [
    ("PMCNTENSET_EL0", "PMCNTENCLR_EL0"),
    ("PMINTENSET_EL1", "PMINTENCLR_EL1"),
    ("PMOVSSET_EL0", "PMOVSCLR_EL0"),
]
TIMERS = [(TIMER_CTL, TIMER_CVAL, TIMER_CNT), (PTIMER_CTL, PTIMER_CVAL, PTIMER_CNT)]


@pytest.mark.parametrize(
    ("kernel", "levels", "features", "reset"),
    [
        ("5.10", BOTH, WITH_PMU, HOSTS_PMCR & ~0xFF | 0xAC),
        ("5.10", ALONE, WITH_PMU, HOSTS_PMCR & ~0xFF | 0xEC),
        ("6.1", BOTH, WITH_PMU, HOSTS_PMCR & ~0xFF | 0xAC),
        ("6.1", ALONE, WITH_PMU, HOSTS_PMCR & ~0xFF | 0xEC),
        ("6.6", BOTH, WITH_PMU, 4 << 11),
        ("6.6", ALONE, WITH_PMU, 4 << 11 | 1 << 6),
        ("6.12", BOTH, WITH_PMU, 4 << 11),
        ("7.2", ALONE, WITH_PMU, 4 << 11 | 1 << 6),
    ],
)
def test_pmcr_after_reset(kernel: str, levels: int, features: int, reset: int) -> None:
    vcpu = pmu_vcpu(kernel, features, levels=levels)
    assert get(vcpu, rid("PMCR_EL0")) == reset
    none = pmu_vcpu(kernel, features, levels=levels)
    none.host.features = PSCI_0_2
    if kernel in ("5.10", "6.1"):
        assert get(none, rid("PMCR_EL0")) == 0, "a host without a PMU"


@pytest.mark.parametrize(
    ("features", "at_init"), [(WITH_PMU, 4), (PSCI_0_2, 0), (WITH_PMU | PMU_V3_STRICT, 0), (PMU_V3_STRICT, 0)]
)
def test_counters_of_a_new_vm(features: int, at_init: int) -> None:
    assert pmu.counters_at_init(pmu_host(), features) == at_init
    assert pmu.counters_of(pmu_host(counters=31)) == 31


@pytest.mark.parametrize(
    ("kernel", "features", "counters", "expected"),
    [
        ("5.10", WITH_PMU, 4, AtReset()),
        ("7.2", PSCI_0_2, 4, AtReset()),
        ("6.1", WITH_PMU, 4, AtReset(0x8000_000F, 3 << 30 | 1 << 27 | 0xFFFF)),
        ("6.6", WITH_PMU, 0, AtReset(0x8000_0000, 3 << 30 | 1 << 27 | 0xFFFF)),
        ("6.12", WITH_PMU, 4, AtReset(0x8000_000F, 3 << 30 | 0xFFFF)),
        ("7.2", WITH_PMU, 31, AtReset(0xFFFF_FFFF, 3 << 30 | 0xFFFF)),
    ],
)
def test_what_reset_finds_of_the_pmu(kernel: str, features: int, counters: int, expected: AtReset) -> None:
    assert pmu.at_reset(pmu_vcpu(kernel, features, counters=counters)) == expected


@pytest.mark.parametrize(("kernel", "found"), [("6.1", 0x8000_000F), ("6.6", 0x8000_000F), ("6.12", 0x8000_0003)])
def test_another_reset_finds_the_counters_of_then(kernel: str, found: int) -> None:
    vcpu = pmu_vcpu(kernel)
    vcpu.vm.pmu_counters = 2
    assert vcpu.init(WITH_PMU).accepted
    assert vcpu.pmu_at_reset.counters == found
    assert pmu._encoding("PMCR_EL0") == PMCR


@pytest.mark.parametrize(
    ("version", "events"),
    [(1, 0x3FF), (4, 0xFFFF), (5, 0xFFFF), (6, 0xFFFF), (7, 0xFFFF), (3, 0), (8, 0), (0, 0)],
)
@pytest.mark.parametrize(("levels", "bits"), [(0x12, 0), (0x112, 1 << 27), (0x1012, 7 << 26 & ~(1 << 27) | 1 << 29)])
def test_bits_of_an_event_type(version: int, events: int, levels: int, bits: int) -> None:
    vcpu = pmu_vcpu()
    vcpu.vm.id_registers[DFR0] = of.DFR0_PMUVER.put(0, version)
    vcpu.vm.id_registers[PFR0] = levels
    assert pmu.at_reset(vcpu).event == 3 << 30 | events | bits


@pytest.mark.parametrize("kernel", ["6.1", "6.6", "6.12", "7.2"])
def test_what_reset_leaves(kernel: str) -> None:
    vcpu = pmu_vcpu(kernel, version=1)
    found = vcpu.pmu_at_reset
    for name in ("PMCNTENSET_EL0", "PMCNTENCLR_EL0", "PMINTENSET_EL1", "PMOVSSET_EL0", "PMOVSCLR_EL0"):
        assert get(vcpu, rid(name)) == UNKNOWN & 0x8000_000F
    assert get(vcpu, rid("PMEVCNTR0_EL0")) == get(vcpu, rid("PMEVCNTR30_EL0")) == UNKNOWN & 0xFFFF_FFFF
    assert get(vcpu, rid("PMEVTYPER0_EL0")) == get(vcpu, rid("PMEVTYPER30_EL0")) == UNKNOWN & found.event
    assert get(vcpu, rid("PMSELR_EL0")) == UNKNOWN & 0x1F
    assert get(vcpu, rid("PMCCNTR_EL0")) == UNKNOWN
    assert get(vcpu, rid("PMSWINC_EL0")) == 0
    assert put(vcpu, rid("PMSWINC_EL0"), U64) == "ok"
    assert get(vcpu, rid("PMSWINC_EL0")) == 0


def test_registers_on_5_10() -> None:
    """Any value stays whole (reset_unknown, no get_user); both accesses to a set have one register."""
    vcpu = pmu_vcpu("5.10")
    for name in ("PMSELR_EL0", "PMEVCNTR30_EL0", "PMEVTYPER0_EL0", "PMCCNTR_EL0", "PMSWINC_EL0", "PMOVSCLR_EL0"):
        assert get(vcpu, rid(name)) == UNKNOWN
        assert put(vcpu, rid(name), U64) == "ok"
        assert get(vcpu, rid(name)) == U64
    for kept, other in SETS:
        assert put(vcpu, rid(other), 5) == put(vcpu, rid("PMCR_EL0"), U64) == "ok"
        assert get(vcpu, rid(kept)) == get(vcpu, rid(other)) == 5
    assert get(vcpu, rid("PMCR_EL0")) == U64
    assert pmu.is_special(vcpu, PMCR)
    assert not pmu.is_special(vcpu, encoding("PMMIR_EL1"))
    assert pmu.is_special(pmu_vcpu(), encoding("PMMIR_EL1"))
    assert not pmu.is_special(pmu_vcpu(), encoding("TTBR0_EL1"))


@pytest.mark.parametrize(
    ("kernel", "written", "counters", "reads"),
    [
        ("6.12", 2 << 11, 2, 2 << 11),
        ("6.12", 4 << 11, 4, 4 << 11),
        # More than the host has: ignored.
        ("6.12", 5 << 11, 4, 4 << 11),
        ("6.12", 0, 0, 0),
        ("6.12", U64, 4, 4 << 11 | 0xFF),
        ("7.2", U64 & ~(0x1F << 11) | 3 << 11, 3, 3 << 11 | 0xFF),
        ("6.6", 2 << 11 | 1 << 40, 4, 2 << 11 | 1 << 40),
    ],
)
def test_pmcr_written_by_user_space(kernel: str, written: int, counters: int, reads: int) -> None:
    vcpu = pmu_vcpu(kernel)
    assert put(vcpu, rid("PMCR_EL0"), written) == "ok"
    assert (vcpu.vm.pmu_counters, get(vcpu, rid("PMCR_EL0"))) == (counters, reads)
    assert pmu.counters(vcpu) == reads >> 11 & 0x1F


def test_fewer_counters_can_be_more_again() -> None:
    vcpu = pmu_vcpu()
    for number in (2, 4):
        assert put(vcpu, rid("PMCR_EL0"), number << 11) == "ok"
        assert vcpu.vm.pmu_counters == number


def test_when_the_number_of_counters_is_fixed() -> None:
    for ran, extra in ((True, 0), (False, HAS_EL2), (False, PMU_V3_STRICT)):
        vcpu = pmu_vcpu()
        vcpu.vm.ran = ran
        vcpu.features |= extra
        assert put(vcpu, rid("PMCR_EL0"), 2 << 11 | 1) == "ok"
        assert vcpu.vm.pmu_counters == 4
    alone = pmu_vcpu(levels=ALONE)
    assert put(alone, rid("PMCR_EL0"), 1 << 11) == "ok"
    assert get(alone, rid("PMCR_EL0")) == 1 << 11 | 1 << 6


@pytest.mark.parametrize(("mode", "counters"), [(0x0, 2), (0x4, 2), (0x5, 2), (0x8, 4), (0x9, 4)])
def test_counters_of_a_nested_guests_levels(mode: int, counters: int) -> None:
    """MDCR_EL2.HPMN of all but EL2 itself; all of them where it was never written."""
    vcpu = pmu_vcpu()
    vcpu.features |= HAS_EL2
    vcpu.values[PSTATE] = (0x3C0 | mode).to_bytes(8, "little")
    assert pmu.counters(vcpu) == 4
    vcpu.values[rid("MDCR_EL2")] = (0xFFE2).to_bytes(8, "little")
    assert pmu.counters(vcpu) == counters
    vcpu.features &= ~HAS_EL2
    assert pmu.counters(vcpu) == 4


@pytest.mark.parametrize("pair", SETS)
@pytest.mark.parametrize(
    ("kernel", "after_set", "after_clear"),
    [
        ("6.6", U64, 0x1_0000_0006),
        ("6.12", 0x8000_000F, 0x8000_0009),
        ("6.16", 0x8000_000F, 0x6),
        ("7.2", 0x8000_000F, 0x6),
    ],
)
def test_sets_written_by_user_space(pair: tuple[str, str], kernel: str, after_set: int, after_clear: int) -> None:
    vcpu = pmu_vcpu(kernel)
    names = [rid(name) for name in pair]
    assert put(vcpu, names[0], U64) == "ok"
    assert [get(vcpu, name) for name in names] == [after_set] * 2
    assert put(vcpu, names[1], 0x1_0000_0006) == "ok"
    assert [get(vcpu, name) for name in names] == [after_clear] * 2
    if kernel == "6.12":
        assert put(vcpu, names[0], 2) == "ok"
        assert get(vcpu, names[1]) == after_clear | 2


def test_a_set_reads_as_the_counters_that_are_there() -> None:
    vcpu = pmu_vcpu()
    assert put(vcpu, rid("PMCNTENSET_EL0"), U64) == put(vcpu, rid("PMCR_EL0"), 1 << 11) == "ok"
    assert get(vcpu, rid("PMCNTENSET_EL0")) == 0x8000_0001
    # What was written while they were not there is gone.
    assert put(vcpu, rid("PMCNTENSET_EL0"), U64) == put(vcpu, rid("PMCR_EL0"), 4 << 11) == "ok"
    assert get(vcpu, rid("PMCNTENSET_EL0")) == 0x8000_0001


@pytest.mark.parametrize(
    ("kernel", "version", "reads"),
    [("6.1", 6, 0xFFFF_FFFF), ("6.6", 6, U64), ("7.2", 5, 0xFFFF_FFFF), ("7.2", 6, U64), ("7.2", 7, U64)],
)
def test_how_many_bits_a_counter_has(kernel: str, version: int, reads: int) -> None:
    vcpu = pmu_vcpu(kernel)
    vcpu.vm.id_registers[DFR0] = of.DFR0_PMUVER.put(0, version)
    for name in ("PMEVCNTR0_EL0", "PMEVCNTR30_EL0"):
        assert put(vcpu, rid(name), U64) == "ok"
        assert get(vcpu, rid(name)) == reads
    assert put(vcpu, rid("PMCCNTR_EL0"), U64) == "ok"
    assert get(vcpu, rid("PMCCNTR_EL0")) == U64
    assert pmu.counter_number(encoding("PMEVCNTR7_EL0")) == pmu.counter_number(encoding("PMEVTYPER7_EL0")) == 7
    assert pmu.counter_number(PMCR) is None


# Timers


@pytest.mark.parametrize(("control", "compare", "counter"), TIMERS)
@pytest.mark.parametrize(("kernel", "reads", "high"), [("6.17", True, 0), ("6.18", False, 1 << 40)])
def test_timer_controls(control: int, compare: int, counter: int, kernel: str, reads: bool, high: int) -> None:
    vcpu = vcpu_on(pmu_host(kernel))
    assert timers.is_special(control)
    timers.put(vcpu, control, 1 << 40 | 0xF)
    for at, now, expired in ((0, 0, True), (5, 4, False), (5, 5, True), (5, 6, True)):
        timers.put(vcpu, compare, at)
        timers.put(vcpu, counter, now)
        assert (timers.value(vcpu, compare), timers.value(vcpu, counter)) == (at, now)
        assert timers.value(vcpu, control) == high | 0xB | (4 if expired and reads else 0)
    timers.put(vcpu, compare, U64)
    assert timers.value(vcpu, compare) == U64
    # As KVM_GET_ONE_REG and KVM_SET_ONE_REG have it, off and at reset.
    for written in (0, 1):
        assert put(vcpu, sysreg_id(control), written) == "ok"
        assert get(vcpu, sysreg_id(control)) == written
    assert put(vcpu, sysreg_id(compare), 0) == put(vcpu, sysreg_id(control), 1 << 40 | 0xF) == "ok"
    assert get(vcpu, sysreg_id(control)) == high | 0xB | (4 if reads else 0)
    assert get(vcpu_on(pmu_host(kernel)), sysreg_id(control)) == (4 if reads else 0)


@pytest.mark.parametrize(("kernel", "reads"), [("6.17", 0xF), ("6.18", 0xB)])
def test_timers_of_el2(kernel: str, reads: int) -> None:
    vcpu = vcpu_on(pmu_host(kernel))
    for name in ("CNTHP_CTL_EL2", "CNTHV_CTL_EL2"):
        assert timers.is_special(encoding(name))
        timers.put(vcpu, encoding(name), 0xF)
        assert timers.value(vcpu, encoding(name)) == reads
    for name in ("CNTHP_CVAL_EL2", "CNTHV_CVAL_EL2"):
        assert timers.is_special(encoding(name))
        timers.put(vcpu, encoding(name), 0xF)
        assert timers.value(vcpu, encoding(name)) == 0xF
    assert not timers.is_special(PMCR)


# Others


@pytest.mark.parametrize(("e2h0", "hcr"), [(0, 0), (7, 0), (8, 1 << 34), (0xE, 1 << 34), (0xF, 1 << 34)])
def test_registers_whose_reset_looks_at_the_host(e2h0: int, hcr: int) -> None:
    value = of.MMFR4_E2H0.put(0, e2h0)
    actlr = sysreg_id(encoding("ACTLR_EL1"))
    for limits, sanitised in (({MMFR4: value}, {}), ({MMFR4: of.MMFR4_E2H0.put(0, e2h0 ^ 8)}, {MMFR4: value})):
        on = Host(
            kernels()["7.2"], {PFR0: BOTH, **limits}, sanitised=sanitised, registers={actlr: b"\5".ljust(8, b"\0")}
        )
        vcpu = vcpu_on(on)
        assert held.has_nv1(on) is not hcr
        assert held.reset_value(vcpu, encoding("HCR_EL2")) == hcr
        assert held.reset_value(vcpu, encoding("ACTLR_EL1")) == 5
        vcpu.vm.pmu_counters = 3
        assert held.reset_value(vcpu, encoding("MDCR_EL2")) == 3
    assert held.has_nv1(Host(kernels()["7.2"], {})) is True
    assert held.reset_value(pmu_vcpu(), encoding("ACTLR_EL1")) == 0


def test_what_is_known_of_a_register() -> None:
    vcpu = pmu_vcpu()
    assert held.is_known(vcpu, encoding("TTBR0_EL1"))
    assert held.reset_value(vcpu, encoding("TTBR0_EL1")) == UNKNOWN
    assert held.reset_value(vcpu, PMCR) == 4 << 11
    assert get(vcpu, rid("TTBR0_EL1")) == UNKNOWN
    for counter in (TIMER_CNT, PTIMER_CNT):
        assert held.is_clock(counter)
        assert not held.is_known(vcpu, counter)
    assert not held.is_clock(TIMER_CVAL)
    assert held.is_known(vcpu, TIMER_CVAL)
    unknown = encoding("CNTPOFF_EL2")
    assert condition("7.2", sysreg_id(unknown)) is None
    assert held.reset_value(vcpu, unknown) is None
    assert not held.is_known(vcpu, unknown)
    # What the capture holds of it, else zeroes.
    assert held.get(vcpu, unknown) == bytes(8)
    vcpu.host.registers[sysreg_id(unknown)] = b"12345678"
    assert held.get(vcpu, unknown) == b"12345678"
    vcpu.values[sysreg_id(unknown)] = b"87654321"
    assert held.get(vcpu, unknown) == b"87654321"


def test_masks_of_a_nested_guests_registers() -> None:
    """They hold once they are made, of a vCPU with EL2; of ICH_HCR_EL2 they hang on the host's GIC."""
    vcpu, ttbr, ich = pmu_vcpu(), encoding("TTBR0_EL1"), encoding("ICH_HCR_EL2")
    assert put(vcpu, sysreg_id(ttbr), 0xFF) == "ok"
    vcpu.vm.el2_masks = {ttbr: Resx(0xF0, 0x100)}
    assert put(vcpu, sysreg_id(ttbr), 0xFF) == "ok"
    assert get(vcpu, sysreg_id(ttbr)) == 0xFF
    assert held.reset_value(vcpu, ttbr) == UNKNOWN
    vcpu.features |= HAS_EL2
    assert held.reset_value(vcpu, ttbr) == UNKNOWN & ~0xF0 | 0x100
    assert put(vcpu, sysreg_id(ttbr), 0xFF) == "ok"
    assert get(vcpu, sysreg_id(ttbr)) == 0x10F
    assert (held.is_known(vcpu, ttbr), held.is_known(vcpu, ich)) == (True, False)
    assert put(vcpu, rid("TTBR1_EL1"), 0xFF) == "ok"
    assert get(vcpu, rid("TTBR1_EL1")) == 0xFF
    vcpu.vm.el2_masks = {encoding("CNTPOFF_EL2"): Resx(1)}
    assert held.reset_value(vcpu, encoding("CNTPOFF_EL2")) is None
    vcpu.vm.el2_masks = {}
    assert held.is_known(vcpu, ich)
    assert put(vcpu, sysreg_id(ttbr), 0xFF) == "ok"
    assert get(vcpu, sysreg_id(ttbr)) == 0xFF


def test_the_masks_are_made_once() -> None:
    """kvm_init_nv_sysregs: of the ID registers as they are, and what the vCPU holds goes through them."""
    vcpu = pmu_vcpu()
    hcr = encoding("HCR_EL2")
    before = 0x0123_4567_89AB_CDEF
    vcpu.values[sysreg_id(hcr)] = before.to_bytes(8, "little")
    held.finalize_el2(vcpu)
    made = dict(vcpu.vm.el2_masks)
    assert made == el2_masks.masks("7.2", vcpu.vm.id_registers)
    assert made[hcr].res0
    assert vcpu.values[sysreg_id(hcr)] == made[hcr].of(before).to_bytes(8, "little")
    assert not set(vcpu.values) & {sysreg_id(one) for one in made if one != hcr}
    vcpu.vm.id_registers = dict.fromkeys(vcpu.vm.id_registers, U64)
    held.finalize_el2(vcpu)
    assert vcpu.vm.el2_masks == made
    vcpu.vm.el2_masks = {hcr: Resx(0xF, 0x10)}
    vcpu.values[sysreg_id(hcr)] = before.to_bytes(8, "little")
    held.finalize_el2(vcpu)
    assert vcpu.values[sysreg_id(hcr)] == (before & ~0xF | 0x10).to_bytes(8, "little")
