"""MSRs one by one: what KVM of a release takes of a VMM, by its function."""

from __future__ import annotations

import struct

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.enable_cap import enable_vcpu_cap
from inspector.machine.x86.kvm.mce import setup_mce
from inspector.machine.x86.kvm.module import SVM, VMX, Processor
from inspector.machine.x86.kvm.msrs.access import get_msr, read, set_msr
from inspector.machine.x86.kvm.msrs.silicon import reads
from tests.machine.kvms import vcpu_with as vcpu_of

APIC_BASE, DEADLINE, X2APIC = 0x1B, 0x6E0, 0x800
DEBUGCTL, LAST_BRANCH, TSC_RATIO, IC_CFG, TSC_AUX = 0x1D9, 0x1DB, 0xC0000104, 0xC0011021, 0xC0000103
MISC_ENABLE, MCG_CTL, CTL2 = 0x1A0, 0x17B, 0x280
HYPERCALL, GUEST_OS_ID, ASYNC_PF = 0x40000001, 0x40000000, 0x4B564D02
PERF_CAPABILITIES, PLATFORM_INFO, MISC_FEATURES = 0x345, 0xCE, 0x140
ARCH_CAPABILITIES, UCODE_REV = 0x10A, 0x8B
ALL = (1 << 64) - 1


@pytest.mark.parametrize(
    ("release", "features", "index", "value", "kept"),
    [
        # svm_set_msr, DEBUGCTL: dropped without last branch virtualization, else reserved bits are refused.
        ("6.12", (), DEBUGCTL, 0x3F, 0),
        ("6.12", ("LBRV",), DEBUGCTL, 1, 1),
        ("6.12", ("LBRV",), DEBUGCTL, 2, 0),
        ("6.12", ("LBRV",), DEBUGCTL, 4, None),
        ("5.10", ("LBRV",), DEBUGCTL, 0x3F, 0x3F),
        ("5.10", ("LBRV",), DEBUGCTL, 0x40, None),
        ("7.1", ("LBRV",), LAST_BRANCH, 77, 77),
        ("7.0", ("LBRV",), LAST_BRANCH, 77, None),
        # svm_set_msr, AMD64_TSC_RATIO: bits 63:40 are reserved.
        ("6.12", ("TSCRATEMSR",), TSC_RATIO, 3 << 31, 3 << 31),
        ("6.12", ("TSCRATEMSR",), TSC_RATIO, 1 << 40, None),
        ("6.12", (), TSC_RATIO, 3 << 31, None),
        ("6.12", (), TSC_RATIO, 1 << 32, 1 << 32),
    ],
)
def test_amds_own(release: str, features: tuple[str, ...], index: int, value: int, kept: int | None) -> None:
    extra = {"leaf_8000000a": (1, 8, 0, 1 << 4)} if "TSCRATEMSR" in features else {}
    vcpu = vcpu_of(release, SVM, *features, **extra)
    before = read(vcpu, index)
    assert set_msr(vcpu, index, value).accepted is (kept is not None)
    assert read(vcpu, index) == (before if kept is None else kept)


@pytest.mark.parametrize(
    ("leaf_1", "value"),
    [
        # svm_get_msr, F15H_IC_CFG: family 15h, models 2 to 1fh alone.
        ((0x00600F20, 0, 0, 0), 0x1E),
        ((0x00610F01, 0, 0, 0), 0x1E),
        ((0x00600F12, 0, 0, 0), 0),
        ((0x00620F00, 0, 0, 0), 0),
        ((0x00A00F11, 0, 0, 0), 0),
        ((0x00000513, 0, 0, 0), 0),
    ],
)
def test_an_instruction_cache_of_family_15h(leaf_1: CpuidValues, value: int) -> None:
    assert read(vcpu_of("6.12", leaf_1=leaf_1), IC_CFG) == value


@pytest.mark.parametrize(
    ("number", "value", "accepted"),
    [
        # kvm_lapic_msr_write, kvm_lapic_reg_write in x2APIC mode.
        (0x08, 0x20, True),
        (0x0B, 0, True),
        (0x0F, 0x1FF, True),
        (0x28, 0, True),
        (0x28, 1, False),
        (0x2F, 0x10000, False),
        (0x32, 0x200EF, True),
        (0x33, 0x400, True),
        (0x38, 1000, True),
        (0x3E, 0xB, True),
        (0x3F, 0xFF, True),
        (0x3F, 0x100, False),
        (0x02, 1, False),
        (0x30, 0x00045000, True),
        (0x30, 1 << 13, False),
        (0x08, 1 << 32, False),
    ],
)
def test_registers_of_an_x2apic(number: int, value: int, accepted: bool) -> None:
    vcpu = vcpu_of("6.12", SVM, "X2APIC", leaf_1=(0x00A00F11, 0, 1 | 1 << 21, 0x178BFBFF))
    assert not set_msr(vcpu, X2APIC + number, value).accepted
    assert set_msr(vcpu, APIC_BASE, 0xFEE00D00).accepted
    assert set_msr(vcpu, X2APIC + number, value).accepted is accepted


def test_what_an_x2apic_keeps() -> None:
    """kvm_lapic_reg_write: while the APIC is off by software (SPIV[8]) every LVT is masked; reserved bits go."""
    vcpu = vcpu_of("6.12", SVM, "X2APIC", leaf_1=(0x00A00F11, 0, 1 | 1 << 21, 0x178BFBFF))
    assert set_msr(vcpu, APIC_BASE, 0xFEE00D00).accepted
    for number, value, kept in (
        (0x0F, 0x0FF, 0xFF),
        (0x33, 0x400, 0x10400),
        (0x0F, 0x1FF, 0x1FF),
        (0x33, 0x400, 0x400),
        (0x3E, 0xFF, 0xB),
        (0x08, 0x33, 0x33),
    ):
        assert set_msr(vcpu, X2APIC + number, value).accepted
        assert read(vcpu, X2APIC + number) == kept


def test_another_local_vector_comes_with_cmci() -> None:
    """kvm_apic_calc_nr_lvt_entries, from 6.0 on: MCG_CMCI_P has an LVT entry, which Intel's guests can be given."""
    vcpu = vcpu_of("6.12", VMX, "X2APIC", leaf_1=(0x000906E0, 0, 1 | 1 << 21, 0x178BFBFF))
    assert set_msr(vcpu, APIC_BASE, 0xFEE00D00).accepted
    assert vcpu.lapic is not None
    assert not set_msr(vcpu, X2APIC + 0x2F, 0x10000).accepted
    version = vcpu.lapic.read(0x30)
    assert setup_mce(vcpu, 10 | 1 << 10).accepted
    assert vcpu.lapic.read(0x30) - version == 1 << 16
    assert set_msr(vcpu, X2APIC + 0x2F, 0xF2).accepted
    for value, accepted in ((1 << 30 | 0x7FFF, True), (1 << 31, False), (1 << 15, False)):
        assert set_msr(vcpu, CTL2, value).accepted is accepted
    assert not set_msr(vcpu, CTL2 + 10, 0).accepted
    assert read(vcpu, CTL2) == 1 << 30 | 0x7FFF
    vcpu.reset_by_init()
    assert vcpu.lapic.read(0x2F0) == 0x10000
    # 5.10 has the MSRs of no such entry, and no entry.
    assert not setup_mce(vcpu_of("5.10", VMX), 10 | 1 << 10).accepted


def test_the_machine_checks_control_is_all_or_nothing() -> None:
    """set_msr_mce: MCG_CTL is 0 or all ones, where MCG_CAP has CTL_P; all ones after KVM_X86_SETUP_MCE."""
    vcpu = vcpu_of("6.12", irqchip=0)
    assert setup_mce(vcpu, 10 | 1 << 8).accepted
    assert read(vcpu, MCG_CTL) == ALL
    assert [set_msr(vcpu, MCG_CTL, value).accepted for value in (0, 1, ALL)] == [True, False, True]
    assert setup_mce(vcpu, 10).accepted
    assert not set_msr(vcpu, MCG_CTL, ALL).accepted


def test_the_deadline_is_kept_by_an_enabled_apic_in_deadline_mode() -> None:
    """kvm_set_lapic_tscdeadline_msr, apic_lvtt_tscdeadline: LVT_TIMER[18:17] is 2, which its CPUID bit allows."""
    vcpu = vcpu_of(
        "6.12", SVM, "X2APIC", "TSC_DEADLINE_TIMER", leaf_1=(0x00A00F11, 0, 1 | 1 << 21 | 1 << 24, 0x178BFBFF)
    )
    assert set_msr(vcpu, DEADLINE, 5).accepted
    assert read(vcpu, DEADLINE) == 0
    assert set_msr(vcpu, APIC_BASE, 0xFEE00D00).accepted
    assert set_msr(vcpu, X2APIC + 0x32, 2 << 17 | 0xEF).accepted
    assert set_msr(vcpu, DEADLINE, 5).accepted
    assert read(vcpu, DEADLINE) == 5


@pytest.mark.parametrize(
    ("release", "vendor", "rdtscp", "value", "accepted"),
    [
        # Before 6.0 svm_set_msr and vmx_set_msr: the host's RDTSCP; VMX refuses the upper half.
        ("5.10", SVM, True, 1 << 32, True),
        ("5.10", SVM, False, 1, False),
        ("5.10", VMX, True, 1 << 32, False),
        ("5.10", VMX, True, 1, True),
        ("5.10", VMX, False, 1, False),
    ],
)
def test_tsc_aux_of_5_10(release: str, vendor: str, rdtscp: bool, value: int, accepted: bool) -> None:
    vcpu = vcpu_of(release, vendor)
    vcpu.kvm.boot_has = lambda name: rdtscp if name == "RDTSCP" else False  # type: ignore[method-assign]
    assert set_msr(vcpu, TSC_AUX, value).accepted is accepted
    assert get_msr(vcpu, TSC_AUX).accepted is rdtscp


def test_tsc_aux_needs_that_the_host_reads_it() -> None:
    """__kvm_set_msr: neither RDTSCP nor RDPID of the guest's CPU, no TSC_AUX (kvm_is_supported_user_return_msr)."""
    vcpu = vcpu_of("6.12")
    for absent in (frozenset[int](), frozenset({TSC_AUX})):
        vcpu.kvm.processor = Processor(absent=absent)
        assert reads(vcpu.kvm, TSC_AUX) is not absent or not absent
        assert set_msr(vcpu, TSC_AUX, 5).accepted is reads(vcpu.kvm, TSC_AUX)


def test_mwait_is_turned_on_for_a_guest_with_sse3_alone() -> None:
    """kvm_set_msr_common, MISC_ENABLE: without KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT, MWAIT follows bit 18."""
    quirk = 1 << 4
    for leaf, accepted in (((0x00A00F11, 0, 0, 0x178BFBFF), False), ((0x00A00F11, 0, 1, 0x178BFBFF), True)):
        vcpu = vcpu_of("6.12", leaf_1=leaf)
        vcpu.vm.disabled_quirks = quirk
        before = read(vcpu, MISC_ENABLE)
        assert isinstance(before, int)
        assert set_msr(vcpu, MISC_ENABLE, before ^ 1 << 18).accepted is accepted


def test_a_hypercall_page_lies_in_memory() -> None:
    """kvm_hv_set_msr_pw: without GUEST_OS_ID the write is dropped; the page is written where it is enabled."""
    vcpu = vcpu_of("6.12")
    assert set_msr(vcpu, HYPERCALL, 0x1001).accepted
    assert read(vcpu, HYPERCALL) == 0
    assert set_msr(vcpu, GUEST_OS_ID, 0x8100 << 48).accepted
    assert set_msr(vcpu, HYPERCALL, 0x1001).accepted
    assert not set_msr(vcpu, HYPERCALL, 1 << 40 | 1).accepted
    assert set_msr(vcpu, HYPERCALL, 1 << 40).accepted
    assert read(vcpu, HYPERCALL) == 1 << 40
    assert set_msr(vcpu, HYPERCALL, 0x1001).accepted
    assert set_msr(vcpu, GUEST_OS_ID, 0).accepted
    assert read(vcpu, HYPERCALL) == 0x1000


@pytest.mark.parametrize(
    ("features", "value", "because"),
    [
        # kvm_pv_enable_async_pf: DELIVERY_AS_PF_VMEXIT and DELIVERY_AS_INT need their features.
        (1 << 4, 0x1005, "ASYNC_PF_VMEXIT"),
        (1 << 4 | 1 << 10, 0x1009, "ASYNC_PF_INT"),
        (1 << 4 | 1 << 10 | 1 << 14, 0x100D, ""),
    ],
)
def test_asynchronous_faults(features: int, value: int, because: str) -> None:
    signature = struct.unpack("<3I", b"KVMKVMKVM\0\0\0")
    vcpu = vcpu_of("6.12", leaf_40000000=(0x40000001, *signature), leaf_40000001=(features, 0, 0, 0))
    # guest_pv_has: everything, until the VMM enforces CPUID.
    assert set_msr(vcpu, ASYNC_PF, value).accepted
    assert enable_vcpu_cap(vcpu, 190, 1).accepted
    outcome = set_msr(vcpu, ASYNC_PF, value)
    assert outcome.accepted is (because == "")
    assert because in outcome.because


@pytest.mark.parametrize(
    ("release", "value", "accepted"),
    [
        # PERF_CAPABILITIES: the formats of last branches and PEBS are the host's or none. Before 6.13 without a PMU 0.
        ("6.16", 0x2000, True),
        ("6.16", 0x2005, True),
        ("6.16", 0x2004, False),
        ("6.12", 0x2000, False),
        ("6.12", 0, True),
    ],
)
def test_performance_capabilities_are_the_hosts(release: str, value: int, accepted: bool) -> None:
    vcpu = vcpu_of(release, VMX, "PDCM", leaf_1=(0x00A00F11, 0, 1 | 1 << 15, 0x178BFBFF))
    vcpu.kvm.processor = Processor(msrs={PERF_CAPABILITIES: 5})
    vcpu.kvm.parameters = {"enable_pmu": "Y"}
    assert set_msr(vcpu, PERF_CAPABILITIES, value).accepted is accepted


@pytest.mark.parametrize(("release", "accepted"), [("6.12", False), ("6.16", True)])
def test_faulting_on_cpuid_stays_possible_while_it_is_on(release: str, accepted: bool) -> None:
    """PLATFORM_INFO loses CPUID_FAULT only while cpuid_fault_enabled is off; since 6.16 it is a feature MSR."""
    vcpu = vcpu_of(release)
    assert set_msr(vcpu, PLATFORM_INFO, 1 << 31).accepted
    assert set_msr(vcpu, MISC_FEATURES, 1).accepted
    assert set_msr(vcpu, PLATFORM_INFO, 0).accepted is accepted


def test_a_feature_msr_of_a_vcpu_that_ran_keeps_its_value() -> None:
    """do_set_msr: the present value is taken; from 6.6 on it is not even stored again, nor another one taken."""
    for release in ("6.6", "6.12"):
        vcpu = vcpu_of(release)
        vcpu.ran = True
        now = read(vcpu, ARCH_CAPABILITIES)
        assert isinstance(now, int)
        assert set_msr(vcpu, ARCH_CAPABILITIES, now).accepted
        assert not set_msr(vcpu, ARCH_CAPABILITIES, now ^ 1).accepted
        # The microcode's revision is none that is frozen (kvm_is_immutable_feature_msr).
        assert set_msr(vcpu, UCODE_REV, 5).accepted
