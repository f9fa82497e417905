"""Performance counters: those of the host, those that a guest has, and what KVM offers of PERF_CAPABILITIES.

Source: Linux arch/x86/kvm/pmu.c, kvm_init_pmu_capability, kvm_pmu_refresh; svm/pmu.c, amd_pmu_refresh, amd_pmu_set_msr;
vmx/pmu_intel.c, intel_pmu_refresh, intel_pmu_set_msr; vmx/vmx.c, vmx_get_perf_capabilities.
"""

from __future__ import annotations

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.msrs.access import read, set_msr
from inspector.machine.x86.kvm.msrs.counters import (
    Counters,
    guest_counters,
    host_counters,
    is_enabled,
    supported_perf_cap,
)
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.msrs.table import table_of
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.kvms import commands, give, kept, kvm_of, named, unlisted, vcpu_with_counters

PERF_CAPABILITIES = 0x345
K7_SELECT, K7_COUNTER, SELECT, COUNTER = 0xC0010000, 0xC0010004, 0xC0010200, 0xC0010201
STATUS, CTL, CLEAR, SET = 0xC0000300, 0xC0000301, 0xC0000302, 0xC0000303
FW, LBR, PEBS = 1 << 13, 5, 0xC0 | 0x400
NONE, MASKS = Counters(), (1 << 48) - 1


def host(release: str, vendor: str, leaf: CpuidValues | None = None, *features: str, enable_pmu: str = "Y") -> Kvm:
    """KVM with CPUID leaf 0xA, or on AMD 0x80000022."""
    kvm = kvm_of(release, vendor, emulator="", enable_pmu=enable_pmu)
    number = 0xA if vendor == VMX else 0x80000022
    if leaf:
        kvm.raw.leaves[number, 0] = leaf
    return named(kvm, *features) if features else kvm


@pytest.mark.parametrize(
    ("release", "emulator", "given", "on"),
    [
        # enable_pmu as KVM left it; where nobody read it by whether Linux has counters. kvm-amd of 5.10 does not ask.
        ("6.12", "", "Y", {VMX: True, SVM: True}),
        ("6.12", "", "N", {VMX: False, SVM: False}),
        ("6.12", "", None, {VMX: True, SVM: True}),
        ("6.12", "tcg", None, {VMX: False, SVM: False}),
        ("6.12", "tcg", "Y", {VMX: True, SVM: True}),
        ("5.10", "", None, {VMX: True, SVM: True}),
        ("5.10", "", "N", {VMX: False, SVM: True}),
    ],
)
def test_where_the_pmu_is_on(release: str, emulator: str, given: str | None, on: dict[str, bool]) -> None:
    leaf = (2 | 4 << 8 | 48 << 16, 0, 0, 3 | 48 << 5)
    for vendor, expected in on.items():
        kvm = kvm_of(release, vendor, emulator=emulator)
        kvm.raw.leaves[0xA, 0] = leaf
        kvm.parameters = {"enable_pmu": given} if given else {}
        assert is_enabled(kvm) is expected
        has = release == "5.10" or expected
        assert bool(host_counters(kvm, kvm.msr_rules).gp) is has


def test_a_hybrid_cpu_has_no_pmu_for_guests() -> None:
    kvm = host("6.12", VMX, (2 | 4 << 8 | 48 << 16, 0, 0, 3 | 48 << 5), "HYBRID_CPU")
    kvm.parameters = {}
    assert not is_enabled(kvm)
    assert 0x38D not in table_of(kvm).saved


@pytest.mark.parametrize(
    ("vendor", "leaf", "features", "counters"),
    [
        # Version, general and fixed counters, their widths; at most version 2, 8 and 3 (kvm_pmu_cap).
        (VMX, None, (), NONE),
        (VMX, (0x08300400, 0, 0, 0x603), (), NONE),
        (VMX, (1 | 2 << 8 | 40 << 16, 0, 0, 0), (), Counters(1, 2, 0, 40, 0, 2)),
        (VMX, (5 | 8 << 8 | 48 << 16 | 8 << 24, 7, 7, 3 | 40 << 5 | 1 << 13), (), Counters(2, 8, 3, 48, 40, 8)),
        (VMX, (2 | 9 << 8 | 255 << 16, 0, 0, 0x1F | 255 << 5), (), Counters(2, 8, 3, 255, 255, 8)),
        # AMD: PerfMonV2's number, at most six, or PERFCTR_CORE's six, or four.
        (SVM, (1, 5, 0, 0), (), Counters(2, 5, listed=5)),
        (SVM, (1, 0x16, 0, 0), (), Counters(2, 6, listed=6)),
        (SVM, (1, 0xF, 0, 0), (), Counters(2, 6, listed=6)),
        (SVM, (2, 5, 0, 0), (), Counters(1, 4, listed=4)),
        (SVM, (0, 5, 0, 0), ("PERFCTR_CORE",), Counters(1, 6, listed=6)),
        (SVM, None, ("PERFCTR_CORE",), Counters(1, 6, listed=6)),
        (SVM, None, (), Counters(1, 4, listed=4)),
    ],
)
def test_counters_of_a_host(
    vendor: str, leaf: CpuidValues | None, features: tuple[str, ...], counters: Counters
) -> None:
    kvm = host("6.12", vendor, leaf, *features)
    assert host_counters(kvm, kvm.msr_rules) == counters
    off = host("6.12", vendor, leaf, *features, enable_pmu="N")
    assert host_counters(off, off.msr_rules) == NONE


@pytest.mark.parametrize(
    ("leaf_a", "counters"),
    [
        # intel_pmu_refresh: what the guest's leaf 0xA asks for, at most the host's 4, 3 and 48 bits.
        ((0x07300400, 0, 0, 0x603), NONE),
        ((1 | 3 << 8 | 40 << 16, 0, 0, 3 | 48 << 5), Counters(1, 3, 0, 40)),
        ((2 | 3 << 8 | 40 << 16 | 7 << 24, 0, 0, 2 | 40 << 5 | 1 << 13), Counters(2, 3, 2, 40, 40)),
        ((5 | 255 << 8 | 255 << 16, 0, 0, 0x1F | 255 << 5), Counters(5, 4, 3, 48, 48)),
    ],
)
def test_counters_of_a_guest_of_intel(leaf_a: CpuidValues, counters: Counters) -> None:
    assert guest_counters(vcpu_with_counters("6.12", leaf_a=leaf_a)) == counters


def of_amd(release: str, leaf: CpuidValues | None, *features: str, host_leaf: CpuidValues = (1, 6, 0, 0)) -> WholeVcpu:
    """A guest of AMD whose leaf 0x80000022 and features are others."""
    vcpu = vcpu_with_counters(release, SVM)
    vcpu.kvm.raw.leaves[0x80000022, 0] = host_leaf
    entries = tuple(each._replace(ecx=each.ecx & ~(1 << 23)) for each in vcpu.guest.entries if each.leaf != 0x80000022)
    made = entries[0]._replace(leaf=0x80000022, subleaf=1, flags=1, eax=1, ebx=1)
    others = (
        () if leaf is None else (made, made._replace(subleaf=0, eax=leaf[0], ebx=leaf[1], ecx=leaf[2], edx=leaf[3]))
    )
    vcpu.guest.replace((*entries, *others))
    return give(vcpu, *features) if features else vcpu


@pytest.mark.parametrize(
    ("release", "leaf", "features", "host_leaf", "counters"),
    [
        # amd_pmu_refresh: PerfMonV2's number from 6.5 on, PERFCTR_CORE's six or four; 5.10 has six whatever CPUID says.
        ("5.10", None, (), (1, 6, 0, 0), Counters(1, 6)),
        ("6.1", None, (), (1, 2, 0, 0), Counters(1, 4)),
        ("6.1", None, ("PERFCTR_CORE",), (1, 2, 0, 0), Counters(1, 6)),
        ("6.6", None, ("PERFCTR_CORE",), (1, 5, 0, 0), Counters(1, 5)),
        ("6.6", None, (), (1, 5, 0, 0), Counters(1, 4)),
        ("6.6", (1, 0x25, 0, 0), ("PERFMON_V2",), (1, 6, 0, 0), Counters(2, 5)),
        ("6.6", (1, 0xF, 0, 0), ("PERFMON_V2",), (1, 6, 0, 0), Counters(2, 6)),
        ("6.1", (1, 5, 0, 0), ("PERFMON_V2",), (1, 6, 0, 0), Counters(1, 4)),
    ],
)
def test_counters_of_a_guest_of_amd(
    release: str, leaf: CpuidValues | None, features: tuple[str, ...], host_leaf: CpuidValues, counters: Counters
) -> None:
    assert guest_counters(of_amd(release, leaf, *features, host_leaf=host_leaf)) == counters


def test_a_guest_of_a_host_without_a_pmu_has_no_counters() -> None:
    for vendor in (SVM, VMX):
        vcpu = vcpu_with_counters("6.12", vendor)
        vcpu.kvm.parameters = {"enable_pmu": "N"}
        assert guest_counters(vcpu) == NONE


@pytest.mark.parametrize(
    ("release", "features", "parameters", "value"),
    [
        # vmx_get_perf_capabilities: nothing without a PMU from 5.18 on; last branches from 5.12 on, with PDCM, and
        # without architectural ones or a mediated PMU.
        ("5.17", ("PDCM",), {"enable_pmu": "N"}, FW | LBR),
        ("5.18", ("PDCM",), {"enable_pmu": "N"}, 0),
        ("5.11", ("PDCM",), {}, FW),
        ("5.12", ("PDCM",), {}, FW | LBR),
        ("6.12", ("PDCM",), {}, FW | LBR),
        ("6.12", (), {}, FW),
        ("6.12", ("PDCM", "ARCH_LBR"), {}, FW),
        ("7.2", ("PDCM",), {"enable_mediated_pmu": "Y"}, FW),
        ("7.2", ("PDCM",), {"enable_mediated_pmu": "N"}, FW | LBR),
    ],
)
def test_last_branches_of_perf_capabilities(
    release: str, features: tuple[str, ...], parameters: dict[str, str], value: int
) -> None:
    kvm = host(release, VMX, None, *features)
    # A model whose PEBS does not work with EPT: its formats are not shown.
    kvm.processor = Processor(msrs={PERF_CAPABILITIES: 0x6400 | LBR})
    kvm.parameters = {"enable_pmu": "Y", **parameters}
    assert supported_perf_cap(kvm) == value
    kvm.processor = Processor()
    assert supported_perf_cap(kvm) == value & FW


@pytest.mark.parametrize(("release", "baseline"), [("6.8", 1 << 14), ("6.9", 0), ("6.1", 0), ("6.2", 1 << 14)])
def test_the_baseline_of_pebs(release: str, baseline: int) -> None:
    """Adaptive PEBS: with a format alone, until 9e985cbf2942 (6.9, and 6.1's updates)."""
    kvm = vcpu_with_counters(release).kvm
    assert supported_perf_cap(kvm) == FW | 0x400 | baseline
    kvm.processor = Processor(msrs={PERF_CAPABILITIES: 0x2FFF & ~0x3F & ~0xF00 | 1 << 14})
    assert supported_perf_cap(kvm) == FW | 0xC0
    kvm.processor = Processor(msrs={PERF_CAPABILITIES: FW | 0x400})
    assert supported_perf_cap(kvm) == FW | 0x400
    kvm.processor = Processor(msrs={PERF_CAPABILITIES: FW | 0x400 | LBR})
    assert supported_perf_cap(named(kvm, "ARCH_LBR")) == FW | 0x400


# MSRs of AMD's counters


def test_the_k7s_numbers_are_the_first_four_counters() -> None:
    vcpu = vcpu_with_counters("6.12", SVM)
    for counter in range(4):
        assert kept(vcpu, K7_SELECT + counter, 0x530000 + counter) == 0x530000 + counter
        assert kept(vcpu, K7_COUNTER + counter, 7 + counter) == 7 + counter
        assert read(vcpu, SELECT + 2 * counter) == 0x530000 + counter
        assert read(vcpu, COUNTER + 2 * counter) == 7 + counter
    assert kept(vcpu, K7_COUNTER, 1 << 48 | 1 << 19 | 5) == 1 << 19 | 5
    assert [kept(vcpu, SELECT + 10, 1 << 40 | 9), kept(vcpu, COUNTER + 10, 1 << 48 | 9)] == [9, 9]
    assert read(vcpu, SELECT + 8) == 0


@pytest.mark.parametrize(
    ("gp", "features", "index", "accepted"),
    [
        # A guest of five counters has no sixth; without PERFCTR_CORE no number but the K7's.
        (5, ("PERFMON_V2", "PERFCTR_CORE"), SELECT + 8, True),
        (5, ("PERFMON_V2", "PERFCTR_CORE"), COUNTER + 8, True),
        (5, ("PERFMON_V2", "PERFCTR_CORE"), SELECT + 10, False),
        (5, ("PERFMON_V2", "PERFCTR_CORE"), COUNTER + 10, False),
        (5, ("PERFMON_V2",), SELECT, False),
        (5, ("PERFMON_V2",), K7_SELECT, True),
        (2, ("PERFMON_V2", "PERFCTR_CORE"), SELECT + 2, True),
        (2, ("PERFMON_V2", "PERFCTR_CORE"), SELECT + 4, False),
    ],
)
def test_which_counters_a_guest_of_amd_has(gp: int, features: tuple[str, ...], index: int, accepted: bool) -> None:
    vcpu = of_amd("6.12", (1, gp, 0, 0), *features)
    assert kept(vcpu, index, 5) == (5 if accepted else None)


def test_what_a_guest_of_amd_lacks() -> None:
    """amd_is_valid_msr: with PERFCTR_CORE the MSR is one of the PMU's; K7's are taken and read as 0."""
    vcpu = of_amd("6.12", (1, 2, 0, 0), "PERFMON_V2", "PERFCTR_CORE")
    assert set_msr(vcpu, SELECT + 4, 0).because == "the guest's PMU has the counter of 0xc0010204"
    assert isinstance(read(vcpu, SELECT + 4), Refusal)
    assert (kept(vcpu, K7_SELECT + 2, 5), kept(vcpu, K7_COUNTER + 3, 5)) == (0, 0)
    plain = of_amd("6.12", (1, 2, 0, 0), "PERFMON_V2")
    assert "KVM of this release" in set_msr(plain, SELECT, 1).because
    old = of_amd("6.1", None, "PERFCTR_CORE")
    old.kvm.parameters = {"enable_pmu": "N"}
    assert "KVM of this release" in set_msr(old, SELECT, 1).because


def test_global_msrs_of_amd() -> None:
    """kvm_pmu_set_msr: status refuses what the guest lacks, control drops it, clear and set are not kept."""
    vcpu = of_amd("6.18", (1, 5, 0, 0), "PERFMON_V2", "PERFCTR_CORE")
    assert [read(vcpu, index) for index in (STATUS, CTL, CLEAR, SET)] == [0, 0x1F, 0, 0]
    assert [kept(vcpu, index, 0x1F) for index in (STATUS, CTL, CLEAR, SET)] == [0x1F, 0x1F, 0, 0]
    assert [kept(vcpu, index, 0x20) for index in (STATUS, CTL, CLEAR, SET)] == [None, 0, 0, 0]
    assert "no bit of 0xffffffffffffffe0, " in set_msr(vcpu, STATUS, 0x20).because
    plain = unlisted(of_amd("6.18", None, "PERFCTR_CORE"))
    for index in (STATUS, CTL, CLEAR, SET):
        assert isinstance(read(plain, index), Refusal)
        assert commands(plain, index, 1) == [False]
    assert commands(of_amd("6.16", (1, 5, 0, 0), "PERFMON_V2"), SET, 1) == [False]
    assert commands(of_amd("6.1", (1, 5, 0, 0), "PERFMON_V2"), CTL, 0) == [False]


# MSRs of Intel's counters


def test_the_other_vendors_counters_are_dropped() -> None:
    """K7's on Intel and P6's on AMD are taken and read as 0; beyond 8 and 3 counters there are no MSRs."""
    intel, amd = vcpu_with_counters("6.12", cap=FW), vcpu_with_counters("6.12", SVM)
    for vcpu, indexes in ((intel, (K7_SELECT, K7_COUNTER + 3)), (amd, (0xC1, 0xC2, 0x186, 0x187))):
        assert [kept(vcpu, index, 5) for index in indexes] == [0] * len(indexes)
    for index in (0xC1 + 8, 0x186 + 8, 0x4C1 + 8, 0x309 + 3):
        assert "KVM of this release" in set_msr(intel, index, 0).because


def test_p6s_counters_of_a_guest_without_any() -> None:
    vcpu = unlisted(vcpu_with_counters("6.12", leaf_a=(0, 0, 0, 0)))
    assert [kept(vcpu, index, 5) for index in (0xC1, 0xC2, 0x186, 0x187)] == [0] * 4
    assert isinstance(read(vcpu, 0xC3), Refusal)
    assert isinstance(read(vcpu, 0x38F), Refusal)


def test_what_a_refusal_of_a_counter_names() -> None:
    vcpu = vcpu_with_counters("6.12", cap=FW)
    assert "is as wide as the guest's counters (0xffff000000000000)" in set_msr(vcpu, 0x4C1, 1 << 48).because
    assert "no bit of 0xffffffff00200000, " in set_msr(vcpu, 0x186, 1 << 32).because


def test_bits_of_counters_of_intel() -> None:
    """PERF_GLOBAL_CTRL has none of PERF_GLOBAL_STATUS's last two; PEBS without its baseline is of general counters."""
    vcpu = vcpu_with_counters("6.12", cap=FW | 0x300)
    taken = {
        index: {bit for bit in range(64) if commands(vcpu, index, 1 << bit) == [True]}
        for index in (0x38F, 0x38E, 0x3F1)
    }
    assert taken == {0x38F: {0, 1, 2, 3, 32, 33, 34}, 0x38E: {0, 1, 2, 3, 32, 33, 34, 62, 63}, 0x3F1: {0, 1, 2, 3}}
    # The baseline means nothing without a format.
    assert commands(vcpu_with_counters("6.12", cap=FW | 1 << 14), 0x186, 1 << 34) == [False]


def test_the_debug_store_follows_its_bit() -> None:
    vcpu = unlisted(vcpu_with_counters("6.12"))
    assert (read(vcpu, 0x600), kept(vcpu, 0x600, 0x1000)) == (0, 0x1000)
    vcpu.guest.replace(tuple(each._replace(edx=0) if each.leaf == 1 else each for each in vcpu.guest.entries))
    assert isinstance(read(vcpu, 0x600), Refusal)
    assert not set_msr(vcpu, 0x600, 1).accepted


@pytest.mark.parametrize(
    ("leaves", "transactional"),
    [
        # intel_pmu_refresh looks at EBX of leaf 7, and at the host's HLE or RTM.
        (((1, 1 << 3), (0, 0)), False),
        (((1, 0), (0, 1 << 3)), True),
        (((0, 1 << 3),), True),
    ],
)
def test_selections_look_at_leaf_7_0(leaves: tuple[tuple[int, int], ...], transactional: bool) -> None:
    for feature in ("HLE", "RTM"):
        vcpu = vcpu_with_counters("6.12")
        named(vcpu.kvm, feature)
        entries = tuple(each for each in vcpu.guest.entries if each.leaf != 7)
        made = tuple(entries[0]._replace(leaf=7, subleaf=at, flags=1, eax=0, ebx=ebx) for at, ebx in leaves)
        vcpu.guest.replace((*entries, *made))
        assert commands(vcpu, 0x186, 1 << 32 | 0x5300C0, 1 << 21) == [transactional, False]
        assert commands(vcpu, 0x188, 3 << 32) == [transactional]
