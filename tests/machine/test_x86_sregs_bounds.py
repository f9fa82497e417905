"""KVM_SET_SREGS, the APIC base and PDPTEs: each bit of a mask, each release, each order of two checks."""

from __future__ import annotations

import errno
import struct

import pytest

from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm import sregs
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.whole import IRQCHIP_KERNEL, IRQCHIP_NONE, VmConfig, WholeVcpu
from tests.machine.sregs import (
    BASE,
    M64,
    WIDTHS,
    X2APIC_ENTRY,
    kvm_of,
    vcpu_of,
    with_register,
)

# kvm_is_valid_sregs


@pytest.mark.parametrize(
    ("registers", "because"),
    [
        ({"cr0": 1 << 32}, "CR0 has no upper half"),
        ({"cr0": 1 << 32 | 1 << 29}, "CR0 has no upper half"),
        ({"cr0": 1 << 29 | 1 << 31}, "CR0.NW comes with CD"),
        ({"cr0": 1 << 31}, "CR0.PG comes with PE"),
        ({"cr4": 1 << 14}, "CR4 has no bit that KVM lacks"),
        ({"efer": 1 << 10}, "not in 64-bit mode: EFER.LMA is clear and CS is not 64-bit"),
        ({"efer": 1 << 8, "cr0": 1 << 31 | 1}, "EFER.LME and CR0.PG: CR4.PAE and EFER.LMA are set"),
        ({"efer": 5 << 8, "cr0": 1 << 31 | 1}, "EFER.LME and CR0.PG: CR4.PAE and EFER.LMA are set"),
        ({"efer": 1 << 8, "cr4": 1 << 5, "cr0": 1 << 31 | 1}, "EFER.LME and CR0.PG: CR4.PAE and EFER.LMA are set"),
        (
            {"efer": 5 << 8, "cr4": 1 << 5, "cr0": 1 << 31 | 1, "cr3": 1 << 40},
            "CR3 is within the guest's physical width",
        ),
        ({"efer": 5 << 8, "cr4": 1 << 5, "cr0": 1 << 31 | 1, "cr3": (1 << 40) - 1}, ""),
        ({"cr0": 3 << 29}, ""),
        ({"cr0": 1 << 31 | 1}, ""),
        ({"cr0": 1}, ""),
        ({"efer": 1 << 8}, ""),
        ({"apic_base": BASE | 1}, "the APIC base has no reserved bit"),
    ],
)
def test_what_is_refused_changes_nothing(registers: dict[str, int], because: str) -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS)
    before = sregs.get_sregs(vcpu)
    outcome = sregs.set_sregs(vcpu, with_register(vcpu, **registers))
    assert (outcome.code, outcome.accepted) == ((errno.EINVAL, False) if because else (0, True))
    assert not because or outcome.because == because
    assert (sregs.get_sregs(vcpu) == before) is bool(because)


def test_a_64_bit_code_segment_is_for_long_mode() -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS)
    image = bytearray(sregs.get_sregs(vcpu))
    image[19] = 1
    assert sregs.set_sregs(vcpu, bytes(image)).code == errno.EINVAL


@pytest.mark.parametrize(("release", "code"), [("5.10", 0), ("5.11", errno.EINVAL)])
def test_cr0_is_looked_at_from_5_11_on(release: str, code: int) -> None:
    vcpu = vcpu_of(release)
    assert sregs.set_sregs(vcpu, with_register(vcpu, cr0=1 << 31)).code == code


def test_vmxe_in_smm_is_vmx_s() -> None:
    """vmx_is_valid_cr4; SVM has no such rule."""
    for vendor, smm, cr4, held in ((VMX, True, 0x20, True), (VMX, True, 0x2000, False), (VMX, False, 0x2000, True)):
        vcpu = vcpu_of("6.12", vendor)
        vcpu.kvm.cr4_reserved = M64 & ~0x27FF  # type: ignore[misc]
        vcpu.is_smm = smm
        assert sregs.valid_cr4(vcpu, Rule(""), cr4) is held
    assert not sregs.valid_cr4(vcpu, Rule(""), 1 << 14)


@pytest.mark.parametrize(("release", "reserved"), [("6.13", 0), ("6.14", M64 & ~0x7FF), ("7.2", M64 & ~0x7FF)])
def test_the_guests_cr4_before_its_cpuid(release: str, reserved: int) -> None:
    vcpu = WholeVcpu(kvm_of(release), VmConfig())
    assert sregs.cr4_guest_reserved(vcpu) == reserved


@pytest.mark.parametrize(
    ("release", "has_lam", "legal"),
    [("6.7", True, False), ("6.8", True, True), ("7.2", True, True), ("6.8", False, False)],
)
def test_lam_in_cr3(release: str, has_lam: bool, legal: bool) -> None:
    vcpu = vcpu_of(release, VMX, *WIDTHS, Entry(7, 1, 1, int(has_lam) << 26, 0, 0, 0))
    vcpu.kvm._had["LAM"] = True
    assert sregs.legal_cr3(vcpu, 3 << 61 | 0x1000) is legal
    assert sregs.legal_cr3(vcpu, 0x1000)
    assert not sregs.legal_cr3(vcpu, 1 << 60)
    assert not sregs.legal_cr3(vcpu, 1 << 40)


# The APIC base


@pytest.mark.parametrize(("release", "vcpu_code"), [("6.12", errno.EINVAL), ("6.16", 0), ("7.2", 0)])
def test_an_apic_base_that_is_there_already(release: str, vcpu_code: int) -> None:
    """From 6.16 on the same value is not looked at, another one is."""
    vcpu = vcpu_of(release, SVM, *WIDTHS)
    vcpu.apic_base = BASE | 0xFF
    assert sregs.set_sregs(vcpu, with_register(vcpu)).code == vcpu_code
    assert sregs.set_sregs(vcpu, with_register(vcpu, apic_base=BASE | 0xFE)).code == errno.EINVAL


@pytest.mark.parametrize("bit", [*range(12), 39, 40, 52, 63])
def test_each_bit_of_the_apic_base(bit: int) -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS, X2APIC_ENTRY)
    vcpu.apic_base = 0xFEE00000
    refused = bit < 8 or bit in (9, 10) or bit >= 40
    asked = with_register(vcpu, apic_base=0xFEE00000 | 1 << bit)
    assert sregs.set_sregs(vcpu, asked).code == (errno.EINVAL if refused else 0)


def test_x2apic_needs_the_feature_and_the_apic() -> None:
    for entries, value, because in (
        (WIDTHS, BASE | 1 << 10, "the APIC base has no reserved bit"),
        ((*WIDTHS, X2APIC_ENTRY), 0xFEE00500, "x2APIC comes with the APIC enabled"),
        ((*WIDTHS, X2APIC_ENTRY), BASE | 1 << 10, ""),
    ):
        vcpu = vcpu_of("6.12", SVM, *entries)
        outcome = sregs.set_sregs(vcpu, with_register(vcpu, apic_base=value))
        assert outcome.accepted is not bool(because)
        assert not because or outcome.because == because


@pytest.mark.parametrize(("release", "code"), [("5.11", errno.EINVAL), ("5.12", 0)])
def test_a_width_beyond_64_bits(release: str, code: int) -> None:
    """Until 5.12 ~0ull << cpuid_maxphyaddr(): a processor shifts by the low six bits of 104, which are 40."""
    for width, expected in ((40, errno.EINVAL), (104, code)):
        vcpu = vcpu_of(release, SVM, WIDTHS[0], WIDTHS[1]._replace(eax=width))
        assert sregs.set_sregs(vcpu, with_register(vcpu, apic_base=BASE | 1 << 50)).code == expected


@pytest.mark.parametrize(
    ("release", "irqchip", "kept"),
    [
        ("5.10", IRQCHIP_NONE, 0xFEE00900),
        ("5.19", IRQCHIP_NONE, 0xFEE00900),
        ("6.0", IRQCHIP_NONE, 0xFEE00800),
        ("5.10", IRQCHIP_KERNEL, 0xFEE00800),
        ("6.12", IRQCHIP_KERNEL, 0xFEE00800),
    ],
)
def test_without_a_local_apic_bsp_was_set_until_6_0(release: str, irqchip: int, kept: int) -> None:
    vcpu = vcpu_of(release, SVM, *WIDTHS, irqchip=irqchip)
    assert sregs.set_sregs(vcpu, with_register(vcpu, apic_base=0xFEE00800)).accepted
    assert vcpu.apic_base == kept


@pytest.mark.parametrize(("value", "dirty"), [(BASE, False), (0xFEE00100, True), (0xFED00900, False)])
def test_cpuid_follows_the_apics_enable_bit(value: int, dirty: bool) -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS)
    assert sregs.set_sregs(vcpu, with_register(vcpu, apic_base=value)).accepted
    assert vcpu.cpuid_dirty is dirty


@pytest.mark.parametrize(
    ("before", "after", "dirty"), [(0, 1 << 18, True), (0, 1 << 22, True), (1 << 22, 0, True), (0, 0x20, False)]
)
def test_cpuid_follows_two_bits_of_cr4(before: int, after: int, dirty: bool) -> None:
    vcpu = vcpu_of("6.12")
    sregs.set_cr4(vcpu, before)
    vcpu.cpuid_dirty = False
    sregs.set_cr4(vcpu, after)
    assert (vcpu.cr4, vcpu.cpuid_dirty, vcpu.cr4_osxsave) == (after, dirty, bool(after >> 18 & 1))


# Side effects


@pytest.mark.parametrize(("before", "cr0", "efer"), [(1, 1 << 31 | 1, 0x500), (1 << 31 | 1, 1, 0x100), (1, 1, 0x100)])
def test_paging_turns_long_mode_on_and_off(before: int, cr0: int, efer: int) -> None:
    vcpu = vcpu_of("6.12")
    vcpu.cr0, vcpu.efer = before, 0x500 if before >> 31 else 0x100
    sregs.set_cr0(vcpu, cr0)
    assert (vcpu.cr0, vcpu.efer) == (cr0, efer)
    vcpu.cr0, vcpu.efer = before, 0
    sregs.set_cr0(vcpu, cr0)
    assert vcpu.efer == 0
    # LMA is left where paging was off and stays off.
    vcpu.cr0, vcpu.efer = 1, 0x500
    sregs.set_cr0(vcpu, 1)
    assert vcpu.efer == 0x500


@pytest.mark.parametrize(
    ("vendor", "before", "after", "leaves"),
    [
        (SVM, 1 << 12, 0, True),
        (SVM, 0, 1 << 12, False),
        (SVM, 1 << 12, 1 << 12, False),
        (SVM, 1 << 8, 0, False),
        (VMX, 1 << 12, 0, False),
    ],
)
def test_a_guest_without_svme_has_no_nested_state(vendor: str, before: int, after: int, leaves: bool) -> None:
    vcpu = vcpu_of("6.12", vendor)
    left: list[bool] = []
    vcpu.leave_nested = lambda: left.append(True)  # type: ignore[method-assign]
    vcpu.efer = before
    sregs.set_efer(vcpu, after)
    assert (vcpu.efer, bool(left)) == (after, leaves)


def test_the_lowest_bit_of_the_bitmap_is_the_interrupt() -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS)
    image = sregs.get_sregs(vcpu)
    assert len(image) == 312
    vcpu.pending.interrupt_soft = True
    assert sregs.set_sregs(vcpu, image).accepted
    assert (vcpu.pending.interrupt_injected, vcpu.pending.interrupt_soft) == (False, True)
    asked = (1 << 0x31 | 1 << 0x32 | 1 << 0xFF).to_bytes(32, "little")
    assert sregs.set_sregs(vcpu, image[:280] + asked).accepted
    found = (vcpu.pending.interrupt_vector, vcpu.pending.interrupt_injected, vcpu.pending.interrupt_soft)
    assert found == (0x31, True, False)
    assert sregs.get_sregs(vcpu)[280:] == (1 << 0x31).to_bytes(32, "little")
    vcpu.pending.interrupt_soft = True
    assert sregs.get_sregs(vcpu)[280:] == bytes(32)


@pytest.mark.parametrize(
    ("flags", "cr0", "cr4", "efer", "because"),
    [
        (2, 0x80000001, 0x20, 0, "flags has no other bit than PDPTRS_VALID"),
        (3, 0x80000001, 0x20, 0, "flags has no other bit than PDPTRS_VALID"),
        (1, 1, 0x20, 0, "PDPTEs are given with PAE paging only"),
        (1, 0x80000001, 0, 0, "PDPTEs are given with PAE paging only"),
        (1, 0x80000001, 0x20, 0x500, "PDPTEs are given with PAE paging only"),
        (1, 0x80000001, 0x20, 0, ""),
        (0, 0x80000001, 0x20, 0, ""),
        (0, 1, 0x20, 0, ""),
    ],
)
def test_pdptes_of_sregs2(flags: int, cr0: int, cr4: int, efer: int, because: str) -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS, memory=0x2000)
    vcpu.vm.memory[0x1000:0x1020] = struct.pack("<4Q", 0x7001, 0, 0, 0)
    vcpu.pdptrs = [9, 9, 9, 9]
    image = with_register(vcpu, cr0=cr0, cr4=cr4, efer=efer, cr3=0x1008)[:280] + struct.pack("<5Q", flags, 5, 0, 0, 0)
    outcome = sregs.set_sregs2(vcpu, image)
    assert outcome.code == (errno.EINVAL if because else 0)
    assert not because or outcome.because == because
    is_pae = cr0 >> 31 and cr4 and not efer
    expected = [9, 9, 9, 9] if because or not is_pae else [5, 0, 0, 0] if flags else [0x7001, 0, 0, 0]
    assert vcpu.pdptrs == expected
    told = struct.pack("<5Q", 1, *expected) if is_pae and not because else bytes(40)
    assert sregs.get_sregs2(vcpu)[280:] == told


@pytest.mark.parametrize("bit", range(64))
def test_reserved_bits_of_a_pdpte(bit: int) -> None:
    """rsvd_bits of PAE: 1, 2, 5 to 8, and from the guest's width on; an entry that is not present may have any."""
    vcpu = vcpu_of("6.12", SVM, *WIDTHS, memory=0x1000)
    refused = bit in (1, 2, 5, 6, 7, 8) or bit >= 40
    vcpu.vm.memory[0x20:0x40] = struct.pack("<4Q", 0, 0, 0, 1 | 1 << bit)
    vcpu.cr3 = 0x3F
    assert sregs.load_pdptrs(vcpu) is not refused
    vcpu.vm.memory[0x20:0x40] = struct.pack("<4Q", 0, 0, 0, 1 << bit & ~1)
    assert sregs.load_pdptrs(vcpu)


def test_set_sregs_reads_the_pdptes_too() -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS, memory=0x1000)
    vcpu.vm.memory[:32] = struct.pack("<4Q", 0x7001, 0, 0, 1 << 63)
    assert sregs.set_sregs(vcpu, with_register(vcpu, cr0=1 << 31 | 1, cr4=0x20)).accepted
    assert vcpu.pdptrs == [0x7001, 0, 0, 1 << 63]


def test_paging_without_pae_has_no_pdptes() -> None:
    vcpu = vcpu_of("6.12")
    for cr0, cr4, efer, is_pae in ((1 << 31, 0x20, 0, True), (1 << 31, 0, 0, False), (1 << 31, 0x20, 0x400, False)):
        vcpu.cr0, vcpu.cr4, vcpu.efer = cr0, cr4, efer
        assert sregs.is_pae_paging(vcpu) is is_pae


def test_pdptes_at_the_end_of_memory() -> None:
    vcpu = vcpu_of("6.12", SVM, *WIDTHS, memory=0x1000)
    for cr3, there in ((0xFE0, True), (0x1000, False)):
        vcpu.cr3 = cr3
        assert sregs.load_pdptrs(vcpu) is there


def test_cr8_is_the_task_priority() -> None:
    for irqchip in (IRQCHIP_KERNEL, IRQCHIP_NONE):
        vcpu = vcpu_of("6.12", SVM, *WIDTHS, irqchip=irqchip)
        for cr8, kept in ((0xF, 0xF), (0x10, 0xF), (3, 3), (0x1F, 3)):
            sregs.set_cr8(vcpu, cr8)
            assert sregs.get_cr8(vcpu) == kept
        assert (vcpu.lapic is None) or vcpu.lapic.read(0x80) == 0x30
