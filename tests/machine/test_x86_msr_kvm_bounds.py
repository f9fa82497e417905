"""MSRs of KVM's devices and of hypervisors: local APIC, machine check, KVM's own, Hyper-V's.

Source: Linux arch/x86/kvm/lapic.c, x86.c (from 7.3 on msrs.c), hyperv.c.
"""

from __future__ import annotations

import struct

import pytest

from inspector.machine.x86.kvm.enable_cap import enable_vcpu_cap
from inspector.machine.x86.kvm.mce import setup_mce
from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.msrs.access import read, set_msr
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.kvms import commands, give, kept, vcpu_with

ALL, U32 = (1 << 64) - 1, (1 << 32) - 1
APIC_BASE, DEADLINE, X2APIC = 0x1B, 0x6E0, 0x800
ID, TPR, EOI, SPIV, ESR, CMCI, ICR, ICR2 = 0x02, 0x08, 0x0B, 0x0F, 0x28, 0x2F, 0x30, 0x31
LVT_TIMER, THERMAL, LINT0, ERROR, TMICT, TDCR = 0x32, 0x33, 0x35, 0x37, 0x38, 0x3E
MASKED = 1 << 16
#: The end of the guests' memory of 2 MiB, and the page of KVM's own that guests of Intel have (APIC accesses).
END, APIC_PAGE = 1 << 21, 0xFEE00000


def with_x2apic(release: str = "6.12", vendor: str = VMX, *features: str, irqchip: int = 1) -> WholeVcpu:
    vcpu = vcpu_with(release, vendor, irqchip=irqchip)
    give(vcpu, "X2APIC", *features)
    assert set_msr(vcpu, APIC_BASE, 0xFEE00D00).accepted
    if vcpu.lapic is not None:
        vcpu.lapic.set_version()
    return vcpu


# Local APIC


def test_the_base_says_why_it_is_refused() -> None:
    vcpu = vcpu_with("6.12", VMX)
    assert read(vcpu, APIC_BASE) == 0xFEE00900
    assert kept(vcpu, APIC_BASE, 0xFEE00100) == 0xFEE00100
    assert kept(vcpu, APIC_BASE, 1 << 60) is None
    assert set_msr(vcpu, APIC_BASE, 1 << 60).because != "KVM takes the value"


@pytest.mark.parametrize(
    ("number", "value", "reads"),
    [
        # kvm_lapic_reg_write with SPIV[8] set: each register's bits, and what it reads as (None: refused).
        (TPR, U32, 0xFF),
        (SPIV, U32, 0x3FF),
        (TDCR, U32, 0xB),
        (TMICT, U32, U32),
        (LVT_TIMER, U32, 0x310FF & ~(1 << 18) & ~(1 << 17) | 1 << 17),
        (THERMAL, U32, 0x117FF),
        (THERMAL + 1, U32, 0x117FF),
        (LINT0, U32, 0x1F7FF),
        (LINT0 + 1, U32, 0x1F7FF),
        (ERROR, U32, 0x110FF),
        *((number, 0, None) for number in (ID, 0x03, 0x0A, 0x0D, 0x0E, CMCI, ICR2, 0x39, 0x40, 0xFF)),
        # 32 bits, but ICR.
        (TMICT, 1 << 32, None),
        (TPR, 1 << 32, None),
    ],
)
def test_bits_of_an_x2apics_registers(number: int, value: int, reads: int | None) -> None:
    vcpu = with_x2apic()
    assert set_msr(vcpu, X2APIC + SPIV, 0x1FF).accepted
    assert kept(vcpu, X2APIC + number, value) == reads
    readable = {ID, 3, TPR, 0xA, 0xD, SPIV, ESR, ICR, *range(0x10, 0x28), *range(0x32, 0x3A), TDCR}
    assert isinstance(read(vcpu, X2APIC + number), int) is (number in readable)


@pytest.mark.parametrize(
    ("release", "vendor", "value", "reads"),
    [
        # kvm_x2apic_icr_write: the busy bit goes, reserved bits are refused from 6.9 on; one register, or two.
        ("6.12", VMX, 5 << 32 | 0x1040, 5 << 32 | 0x40),
        ("6.12", SVM, 5 << 32 | 0x1040, 5 << 32 | 0x40),
        ("6.6", SVM, 5 << 32 | 0x1040, 5 << 32 | 0x40),
        *(("6.12", VMX, 1 << bit, None) for bit in (13, 16, 17, 20, 31)),
        ("6.6", VMX, 1 << 13, 1 << 13),
        ("5.10", VMX, U32 << 32 | 0x40, U32 << 32 | 0x40),
    ],
)
def test_commands_of_an_x2apic(release: str, vendor: str, value: int, reads: int | None) -> None:
    vcpu = with_x2apic(release, vendor)
    assert kept(vcpu, X2APIC + ICR, value) == reads
    assert vcpu.lapic is not None
    if reads is not None:
        behind = int.from_bytes(vcpu.lapic.regs[0x304:0x308], "little")
        whole = {"6.12": vendor == VMX, "6.6": True}.get(release, False)
        assert (behind, vcpu.lapic.read(0x310)) == ((reads >> 32, 0) if whole else (0, reads >> 32))


def test_an_apic_that_software_turned_off() -> None:
    """SPIV[8] of 0 masks every LVT, and what is written then; SPIV[12] is there with directed EOI (split I/O APIC)."""
    vcpu = with_x2apic()
    assert setup_mce(vcpu, 10 | 1 << 10).accepted
    entries = (LVT_TIMER, THERMAL, LINT0, ERROR, CMCI)
    assert commands(vcpu, X2APIC + SPIV, 0x1FF) == [True]
    assert [kept(vcpu, X2APIC + entry, 0x20) for entry in entries] == [0x20] * 5
    assert kept(vcpu, X2APIC + SPIV, 0xFF) == 0xFF
    assert [read(vcpu, X2APIC + entry) for entry in entries] == [MASKED | 0x20] * 5
    assert kept(vcpu, X2APIC + LINT0, 0x21) == MASKED | 0x21
    assert kept(vcpu, X2APIC + SPIV, 0x11FF) == 0x1FF
    assert kept(with_x2apic(irqchip=2), X2APIC + SPIV, 0x11FF) == 0x11FF
    # Without CMCI there is no seventh entry.
    other = with_x2apic()
    assert commands(other, X2APIC + SPIV, 0xFF) == [True]
    assert other.lapic is not None
    assert other.lapic.read(CMCI << 4) == 0


def test_the_deadline_and_the_count_exclude_each_other() -> None:
    """apic_lvtt_tscdeadline: in deadline mode TMICT is dropped; a change of mode loses both."""
    vcpu = with_x2apic("6.12", VMX, "TSC_DEADLINE_TIMER")
    assert commands(vcpu, X2APIC + SPIV, 0x1FF) == [True]
    assert (kept(vcpu, X2APIC + TMICT, 7), kept(vcpu, DEADLINE, 5)) == (7, 0)
    assert kept(vcpu, X2APIC + LVT_TIMER, 2 << 17 | 0x20) == 2 << 17 | 0x20
    assert (read(vcpu, X2APIC + TMICT), read(vcpu, DEADLINE)) == (0, 0)
    assert (kept(vcpu, X2APIC + TMICT, 7), kept(vcpu, DEADLINE, 5)) == (0, 5)
    vcpu.apic_base &= ~(1 << 11)
    assert (read(vcpu, DEADLINE), kept(vcpu, DEADLINE, 6)) == (0, 0)
    vcpu.apic_base |= 1 << 11
    assert read(vcpu, DEADLINE) == 5
    assert kept(vcpu, X2APIC + LVT_TIMER, 0x20) == 0x20
    assert kept(vcpu, X2APIC + LVT_TIMER, 2 << 17 | 0x20) == 2 << 17 | 0x20
    assert read(vcpu, DEADLINE) == 0


def test_where_there_is_no_x2apic() -> None:
    """Outside of x2APIC mode, without an APIC, and the ends of the range."""
    xapic, none = vcpu_with("6.12", VMX), vcpu_with("6.12", VMX, irqchip=0)
    for vcpu in (xapic, none):
        for index in (X2APIC, X2APIC + TPR, X2APIC + 0xFF):
            text = "the local APIC is in the kernel, and in x2APIC mode"
            assert set_msr(vcpu, index, 0).because == text
            assert isinstance(read(vcpu, index), Refusal)
        for index in (X2APIC - 1, X2APIC + 0x100):
            assert "KVM of this release" in set_msr(vcpu, index, 0).because
    none.apic_base |= 1 << 10
    assert isinstance(read(none, X2APIC + TPR), Refusal)
    assert commands(with_x2apic(), X2APIC + ESR, 0, 1) == [True, False]


# Machine check


@pytest.mark.parametrize(
    ("vendor", "cap", "index", "value", "reads"),
    [
        (VMX, 2, 0x179, 0, None),
        (VMX, 2, 0x17B, 1, None),
        (VMX, 2 | 1 << 8, 0x17B, 0, 0),
        # set_msr_mce: of a bank's control bits 0 and 10 may be 0 (Linux of old), or all others too.
        (VMX, 2, 0x400, 0, 0),
        (VMX, 2, 0x404, ALL ^ 0x401, ALL ^ 0x401),
        (VMX, 2, 0x400, ALL ^ 1, ALL ^ 1),
        (VMX, 2, 0x400, ALL ^ 2, None),
        (VMX, 2, 0x400, 1, None),
        *((VMX, 2, index, 5, 5) for index in (0x401, 0x402, 0x403, 0x405, 0x407)),
        (VMX, 2, 0x408, 0, None),
        (VMX, 32, 0x47F, 5, 5),
        (VMX, 32, 0x480 + 0x80, 0, None),
        # MCi_CTL2: with CMCI in MCG_CAP bit 30 and the threshold, else 0.
        (VMX, 2, 0x281, 0, 0),
        (VMX, 2, 0x281, 1, None),
        (VMX, 2 | 1 << 10, 0x281, 1 << 30 | 0x7FFF, 1 << 30 | 0x7FFF),
        (VMX, 2 | 1 << 10, 0x281, 1 << 15, None),
        (VMX, 2 | 1 << 10, 0x282, 0, None),
        (VMX, 32, 0x29F, 0, 0),
        (VMX, 32, 0x2A0, 0, None),
    ],
)
def test_machine_checks(vendor: str, cap: int, index: int, value: int, reads: int | None) -> None:
    vcpu = vcpu_with("6.12", vendor)
    assert setup_mce(vcpu, cap).accepted
    assert kept(vcpu, index, value) == reads


def test_what_machine_checks_begin_with() -> None:
    """kvm_vcpu_ioctl_x86_setup_mce: all ones where there is a control; banks that MCG_CAP lacks cannot be read."""
    vcpu = vcpu_with("6.12", VMX)
    assert [read(vcpu, index) for index in (0, 1, 0x17A, 0x17B, 0x400, 0x280)] == [0] * 6
    assert setup_mce(vcpu, 2 | 1 << 8).accepted
    assert [read(vcpu, index) for index in (0x179, 0x17B, 0x400, 0x401, 0x404, 0x280)] == [0x102, ALL, ALL, 0, ALL, 0]
    for index in (0x408, 0x40B, 0x282):
        assert isinstance(read(vcpu, index), Refusal)
    # Thresholds of CMCI begin with 0 where MCG_CAP has it, and are left alone where it has not.
    assert setup_mce(vcpu, 2 | 1 << 10).accepted
    assert not set_msr(vcpu, 0x17B, 1).accepted
    for cap, reads in ((2, 3), (2 | 1 << 10, 0)):
        vcpu.msrs.update({0x280: 3, 0x281: 3})
        assert setup_mce(vcpu, cap).accepted
        assert (read(vcpu, 0x280), read(vcpu, 0x281)) == (reads, reads)
    assert "KVM of this release" in set_msr(vcpu, 0x49F, 0).because
    # svm_setup_mce: of AMD's MCG_CAP nine bits are left.
    amd = vcpu_with("6.12", SVM)
    assert setup_mce(amd, 2 | 1 << 24).accepted
    assert (read(amd, 0x179), read(amd, 0x17B)) == (2, 0)
    # 5.10 has none.
    assert set_msr(vcpu_with("5.10", VMX), 0x280, 0).because == "KVM has the MTRR 0x280"


# KVM's own


def test_both_numbers_of_a_clock_are_one_value() -> None:
    vcpu = vcpu_with("6.12")
    for old, new in ((0x11, 0x4B564D00), (0x12, 0x4B564D01)):
        assert (read(vcpu, old), kept(vcpu, new, ALL), read(vcpu, old)) == (0, ALL, ALL)
        assert (kept(vcpu, old, 5), read(vcpu, new)) == (5, 5)


@pytest.mark.parametrize(
    ("index", "value", "reads"),
    [
        # Asynchronous page faults: 8 bytes of memory where they are enabled by interrupt.
        *((0x4B564D02, 1 << bit, None) for bit in (4, 5)),
        (0x4B564D02, 0x4F | END - 0x40 | 0x200000, None),
        (0x4B564D02, END - 0x40 | 0xF, END - 0x40 | 0xF),
        (0x4B564D02, END | 9, None),
        (0x4B564D02, END | 1, END | 1),
        (0x4B564D02, END | 8, END | 8),
        (0x4B564D06, 0xFF, 0xFF),
        (0x4B564D06, 0x100, None),
        (0x4B564D06, 1 << 63, None),
        (0x4B564D07, ALL, 0),
        # Steal time: bits 5:1 are reserved, memory is looked at later.
        *((0x4B564D03, 1 << bit, None) for bit in (1, 5)),
        (0x4B564D03, ALL ^ 0x3E, ALL ^ 0x3E),
        # EOI: a byte of memory at a multiple of 4.
        (0x4B564D04, 2, None),
        (0x4B564D04, 3, None),
        (0x4B564D04, 5, 5),
        (0x4B564D04, END - 4 | 1, END - 4 | 1),
        (0x4B564D04, END | 1, None),
        (0x4B564D04, END, END),
        (0x4B564D05, 0, 0),
        (0x4B564D05, 2, None),
        (0x4B564D05, 1 << 63, None),
    ],
)
def test_kvms_own(index: int, value: int, reads: int | None) -> None:
    vcpu = vcpu_with("6.12")
    assert read(vcpu, index) == (1 if index == 0x4B564D05 else 0)
    assert kept(vcpu, index, value) == reads


def test_what_5_10_keeps_though_it_refuses_it() -> None:
    """kvm_pv_enable_async_pf and kvm_lapic_set_pv_eoi of 5.10 store before they look at the address."""
    for release, stores in (("5.10", True), ("6.1", False)):
        vcpu = vcpu_with(release)
        for index, value in ((0x4B564D02, END | 9), (0x4B564D04, END | 1)):
            assert not set_msr(vcpu, index, value).accepted
            assert read(vcpu, index) == (value if stores else 0)


def test_asynchronous_faults_need_an_apic() -> None:
    vcpu = vcpu_with("6.12", irqchip=0)
    assert commands(vcpu, 0x4B564D02, 0, 1) == [True, False]
    assert commands(vcpu, 0x4B564D06, 0) == [False]


@pytest.mark.parametrize(
    ("index", "feature"),
    [
        *((0x11, 0), (0x12, 0), (0x4B564D00, 3), (0x4B564D01, 3), (0x4B564D02, 4), (0x4B564D03, 5), (0x4B564D04, 6)),
        *((0x4B564D05, 12), (0x4B564D06, 14), (0x4B564D07, 14)),
    ],
)
def test_an_enforced_cpuid_hides_them(index: int, feature: int) -> None:
    """guest_pv_has: each MSR by its bit of CPUID(0x40000001).EAX."""
    signature = struct.unpack("<3I", b"KVMKVMKVM\0\0\0")
    for features, has in ((1 << feature, True), (~(1 << feature) & U32, False)):
        vcpu = vcpu_with("6.18", leaf_40000000=(0x40000001, *signature), leaf_40000001=(features, 0, 0, 0))
        assert enable_vcpu_cap(vcpu, 190, 1).accepted
        assert isinstance(read(vcpu, index), int) is has
        assert set_msr(vcpu, index, 0).accepted is has
        assert has or index not in vcpu.msrs


# Hyper-V's


@pytest.mark.parametrize(
    ("index", "value", "reads"),
    [
        *((index, ALL, ALL) for index in (0x40000000, 0x40000010, 0x40000021, 0x400000F1, 0x400000F5, 0x400000FF)),
        *((index, ALL, ALL) for index in (0x40000100, 0x40000104, 0x40000106, 0x40000107, 0x40000108)),
        *((index, ALL, 0) for index in (0x40000003, 0x40000020)),
        (0x40000022, ALL, 2_000_000_000),
        (0x40000023, ALL, 1_000_000_000),
        (0x40000105, ALL, 1 << 63),
        (0x40000118, 1, 1),
        (0x40000118, 2, None),
        # The index of a processor: 32 bits, below KVM_MAX_VCPUS.
        (0x40000002, 4095, 4095),
        (0x40000002, 4096, None),
        (0x40000002, 7 << 32 | 5, 5),
        # The page of the assist: 4 KiB of memory where it is enabled.
        (0x40000073, END, END),
        (0x40000073, END | 1, None),
        (0x40000073, END - 4096 | 0xFFF, END - 4096 | 0xFFF),
        (0x40000073, APIC_PAGE | 0xFFF, APIC_PAGE | 0xFFF),
        # SynIC and its timers are off: 0 alone.
        *((index, 1, None) for index in (0x40000080, 0x40000081, 0x40000082, 0x40000083, 0x40000084, 0x40000090)),
        *((index, 0, 0) for index in (0x40000080, 0x40000083, 0x40000084, 0x4000009F, 0x400000B0, 0x400000B7)),
        *((index, 1, None) for index in (0x4000009F, 0x400000B0, 0x400000B1, 0x400000B7)),
        *((index, 0, None) for index in (0x40000011, 0x4000008F, 0x400000A0, 0x400000B8, 0x400000F0, 0x400000F6)),
    ],
)
def test_hyper_vs(index: int, value: int, reads: int | None) -> None:
    vcpu = vcpu_with("6.12", VMX)
    vcpu.tsc_khz = 2_000_000
    assert kept(vcpu, index, value) == reads


def test_hyper_vs_hypercall_page() -> None:
    vcpu = vcpu_with("6.12", VMX)
    assert read(vcpu, 0x40000002) == 0
    assert kept(vcpu, 0x40000000, 1) == 1
    for value, reads in (
        (END | 1, None),
        (END - 4096 | 1, END - 4096 | 1),
        (APIC_PAGE | 0xFFF, APIC_PAGE | 0xFFF),
        (END, END),
    ):
        assert kept(vcpu, 0x40000001, value) == reads
    # Without the system's number the page is off.
    other = vcpu_with("6.12", VMX)
    assert (kept(other, 0x40000000, 0), read(other, 0x40000001)) == (0, 0)
    assert "KVM of this release has the MSR" in set_msr(vcpu_with("6.1"), 0x40000118, 0).because


def test_the_assist_page_is_where_eoi_is_told() -> None:
    """kvm_lapic_set_pv_eoi, and off again."""
    vcpu = vcpu_with("6.12", VMX)
    assert kept(vcpu, 0x40000073, 0x2FFF) == 0x2FFF
    assert read(vcpu, 0x4B564D04) == 0x2001
    assert kept(vcpu, 0x40000073, 0x2FFE) == 0x2FFE
    assert read(vcpu, 0x4B564D04) == 0


def test_hyper_vs_apic() -> None:
    """kvm_hv_vapic_msr_write: EOI, ICR and TPR in any mode, where the APIC is KVM's; EOI cannot be read."""
    vcpu = vcpu_with("6.12", VMX)
    assert (kept(vcpu, 0x40000072, 0x33), commands(vcpu, 0x40000070, 0)) == (0x33, [True])
    assert kept(vcpu, 0x40000071, 5 << 32 | 0x40) == 5 << 32 | 0x40
    assert isinstance(read(vcpu, 0x40000070), Refusal)
    # Before 5.18 the xAPIC has the destination alone of ICR's upper half.
    old = vcpu_with("5.10", VMX)
    assert [kept(old, 0x40000071, value) for value in (ALL, 5 << 56 | 0x40)] == [0xFF000000_FFFFEFFF, 5 << 56 | 0x40]
    none = vcpu_with("6.12", VMX, irqchip=0)
    for index in (0x40000070, 0x40000071, 0x40000072):
        assert isinstance(read(none, index), Refusal)
        assert set_msr(none, index, 0).because == "the local APIC is in the kernel"


def test_a_synic_that_is_on() -> None:
    vcpu = vcpu_with("6.12", VMX)
    assert (read(vcpu, 0x40000081), read(vcpu, 0x40000090), read(vcpu, 0x4000009F)) == (1, 0x10000, 0x10000)
    assert enable_vcpu_cap(vcpu, 123).accepted
    for index in (0x40000080, 0x40000081, 0x40000082, 0x40000083, 0x40000090, 0x4000009F, 0x400000B1, 0x400000B7):
        assert kept(vcpu, index, 5) == 5
    assert kept(vcpu, 0x40000084, 5) == 0


@pytest.mark.parametrize(
    ("before", "value", "reads"),
    [
        # stimer_set_config: what was enabled stays so only with a SINT or in direct mode.
        (0, 1, 1),
        (1, 1, 0),
        (1, 3, 2),
        (2, 1, 1),
        (1, 1 << 12 | 1, 1 << 12 | 1),
        (1, 1 << 13 | 1, 1 << 13),
        (1, 1 << 16 | 1, 1 << 16 | 1),
        (1, 1 << 19 | 1, 1 << 19 | 1),
        (1, 1 << 20 | 1, 1 << 20),
        (1, 1 << 15 | 1, 1 << 15),
        (1, 1 << 11 | 1, 1 << 11),
    ],
)
def test_a_synthetic_timer(before: int, value: int, reads: int) -> None:
    vcpu = vcpu_with("6.12", VMX)
    assert enable_vcpu_cap(vcpu, 148).accepted
    assert kept(vcpu, 0x400000B0, before) == before
    assert kept(vcpu, 0x400000B0, value) == reads
    # A count is kept as it is.
    assert (kept(vcpu, 0x400000B1, 1), kept(vcpu, 0x400000B1, 1)) == (1, 1)
