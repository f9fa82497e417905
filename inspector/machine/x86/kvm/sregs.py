"""KVM_SET_SREGS, KVM_SET_SREGS2 and their KVM_GET: control registers, EFER, segments, the APIC base.

Source: Linux arch/x86/kvm/x86.c (from 7.2 on regs.c), __set_sregs_common, kvm_is_valid_sregs; lapic.c,
kvm_apic_set_base; svm/svm.c and vmx/vmx.c, set_cr0, set_cr4, set_efer.
"""

from __future__ import annotations

import errno
import struct

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm import segments
from inspector.machine.x86.kvm.control_bits import CR4_OSXSAVE, CR4_PAE, CR4_PKE, CR4_VMXE, reserved_cr4_bits
from inspector.machine.x86.kvm.cpuid_ioctls import APIC_BASE_ENABLE
from inspector.machine.x86.kvm.efer import valid_efer
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.state import VcpuState

SIZE_BYTES, SIZE2_BYTES = 312, 320
_REGISTERS = struct.Struct("<7Q")
_AT_GDT, _AT_IDT, _AT_REGISTERS, _AT_BITMAP = 192, 208, 224, 280
_QUADS = struct.Struct("<5Q")
CR0_PE, CR0_NW, CR0_CD, CR0_PG = 1, 1 << 29, 1 << 30, 1 << 31
EFER_LME, EFER_LMA, EFER_SVME = 1 << 8, 1 << 10, 1 << 12
CR3_LAM = 3 << 61
X2APIC_ENABLE = 1 << 10
_APIC_RESERVED = 0x2FF
_PDPTRS_VALID = 1
_PDPTE_RESERVED = 0x1E6
_CR8_TPR = 0xF
_M64 = (1 << 64) - 1
_SOURCE = "__set_sregs_common, kvm_is_valid_sregs (x86.c)"


class Sregs(NamedTuple):
    """The registers of struct kvm_sregs that are no segments."""

    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    efer: int
    apic_base: int


def get_sregs(vcpu: VcpuState) -> bytes:
    """KVM_GET_SREGS."""
    pending = vcpu.pending
    bitmap = 1 << pending.interrupt_vector if pending.interrupt_injected and not pending.interrupt_soft else 0
    return _common(vcpu) + bitmap.to_bytes(32, "little")


def get_sregs2(vcpu: VcpuState) -> bytes:
    """KVM_GET_SREGS2: the PDPTEs where paging is PAE's."""
    if is_pae_paging(vcpu):
        return _common(vcpu) + _QUADS.pack(_PDPTRS_VALID, *vcpu.pdptrs)
    return _common(vcpu) + bytes(40)


def _common(vcpu: VcpuState) -> bytes:
    registers = _REGISTERS.pack(vcpu.cr0, vcpu.cr2, vcpu.cr3, vcpu.cr4, get_cr8(vcpu), vcpu.efer, vcpu.apic_base)
    return b"".join((*vcpu.segments, vcpu.gdt, vcpu.idt, registers))


def set_sregs(vcpu: VcpuState, image: bytes) -> Outcome:
    """KVM_SET_SREGS."""
    rule = Rule(_SOURCE)
    if not _set_common(vcpu, rule, image, update_pdptrs=True):
        return rule.refuse(errno.EINVAL)
    bitmap = int.from_bytes(image[_AT_BITMAP:SIZE_BYTES], "little")
    if bitmap:
        pending = vcpu.pending
        pending.interrupt_vector = (bitmap & -bitmap).bit_length() - 1
        pending.interrupt_injected, pending.interrupt_soft = True, False
    return rule.ok()


def set_sregs2(vcpu: VcpuState, image: bytes) -> Outcome:
    """KVM_SET_SREGS2: the PDPTEs come with it, or are read from memory."""
    rule = Rule("kvm_arch_vcpu_ioctl_set_sregs2, " + _SOURCE)
    flags, *pdptrs = _QUADS.unpack_from(image, _AT_BITMAP)
    registers = Sregs(*_REGISTERS.unpack_from(image, _AT_REGISTERS))
    is_pae = registers.cr0 & CR0_PG and registers.cr4 & CR4_PAE and not registers.efer & EFER_LMA
    held = rule.check("flags has no other bit than PDPTRS_VALID", not flags & ~_PDPTRS_VALID) and rule.check(
        "PDPTEs are given with PAE paging only", not flags or is_pae
    )
    if not held or not _set_common(vcpu, rule, image, update_pdptrs=not flags):
        return rule.refuse(errno.EINVAL)
    if flags:
        vcpu.pdptrs = pdptrs
    return rule.ok()


def _set_common(vcpu: VcpuState, rule: Rule, image: bytes, *, update_pdptrs: bool) -> bool:
    """__set_sregs_common."""
    registers = Sregs(*_REGISTERS.unpack_from(image, _AT_REGISTERS))
    if not is_valid(vcpu, rule, registers, cs_l=image[19]):
        return False
    if not set_apic_base(vcpu, rule, registers.apic_base):
        return False
    vcpu.gdt = segments.table(image[_AT_GDT:_AT_IDT])
    vcpu.idt = segments.table(image[_AT_IDT:_AT_REGISTERS])
    vcpu.cr2, vcpu.cr3 = registers.cr2, registers.cr3
    set_efer(vcpu, registers.efer)
    set_cr0(vcpu, registers.cr0)
    set_cr4(vcpu, registers.cr4)
    if update_pdptrs and is_pae_paging(vcpu):
        load_pdptrs(vcpu)
    svm = vcpu.kvm.is_svm
    unrestricted = vcpu.kvm.unrestricted_guest
    vcpu.segments = segments.all_kept(image[:_AT_GDT], svm=svm, unrestricted=unrestricted)
    set_cr8(vcpu, registers.cr8)
    return True


def is_valid(vcpu: VcpuState, rule: Rule, registers: Sregs, *, cs_l: int) -> bool:
    """kvm_is_valid_sregs."""
    cr0, cr4, efer = registers.cr0, registers.cr4, registers.efer
    if efer & EFER_LME and cr0 & CR0_PG:
        held = rule.check("EFER.LME and CR0.PG: CR4.PAE and EFER.LMA are set", cr4 & CR4_PAE and efer & EFER_LMA)
        held = held and rule.check("CR3 is within the guest's physical width", legal_cr3(vcpu, registers.cr3))
    else:
        held = rule.check("not in 64-bit mode: EFER.LMA is clear and CS is not 64-bit", not (efer & EFER_LMA or cs_l))
    return (
        held
        and valid_cr4(vcpu, rule, cr4)
        and (not vcpu.kvm.since(5, 11) or valid_cr0(rule, cr0))
        and (not vcpu.kvm.checks_efer_in_sregs or valid_efer(vcpu, rule, efer))
    )


def legal_cr3(vcpu: VcpuState, cr3: int) -> bool:
    """kvm_vcpu_is_legal_cr3: the guest's LAM bits are none of the address."""
    if vcpu.kvm.since(6, 8) and vcpu.guest.governed("LAM"):
        cr3 &= ~CR3_LAM
    return not cr3 & reserved_gpa_bits(vcpu)


def reserved_gpa_bits(vcpu: VcpuState) -> int:
    """rsvd_bits(cpuid_maxphyaddr(vcpu), 63)."""
    return _M64 & ~((1 << min(vcpu.guest.maxphyaddr, 64)) - 1)


def valid_cr0(rule: Rule, cr0: int) -> bool:
    """kvm_is_valid_cr0."""
    return (
        rule.check("CR0 has no upper half", not cr0 >> 32)
        and rule.check("CR0.NW comes with CD", not cr0 & CR0_NW or cr0 & CR0_CD)
        and rule.check("CR0.PG comes with PE", not cr0 & CR0_PG or cr0 & CR0_PE)
    )


def valid_cr4(vcpu: VcpuState, rule: Rule, cr4: int) -> bool:
    """kvm_is_valid_cr4: bits that KVM or the guest's CPUID lack; VMX has rules of its own."""
    held = rule.check("CR4 has no bit that KVM lacks", not cr4 & vcpu.kvm.cr4_reserved) and rule.check(
        "CR4 has no bit that the guest's CPUID lacks", not cr4 & cr4_guest_reserved(vcpu)
    )
    if not held or vcpu.kvm.is_svm:
        return held
    return rule.check("CR4.VMXE is clear in system management mode", not (cr4 & CR4_VMXE and vcpu.is_smm))


def cr4_guest_reserved(vcpu: VcpuState) -> int:
    """cr4_guest_rsvd_bits; none before KVM_SET_CPUID2, until 6.14."""
    if not vcpu.guest.is_set and not vcpu.kvm.since(6, 14):
        return 0
    return vcpu.guest.remembered("cr4", lambda: reserved_cr4_bits(vcpu.kvm.release, vcpu.guest.has))


def set_apic_base(vcpu: VcpuState, rule: Rule, value: int) -> bool:
    """kvm_apic_set_base by the host: any change of mode is let through."""
    kvm = vcpu.kvm
    if kvm.since(6, 16) and value == vcpu.apic_base:
        return rule.check("the APIC base is the one that is set", held=True)
    width = vcpu.guest.maxphyaddr
    reserved = reserved_gpa_bits(vcpu) | _APIC_RESERVED
    if not kvm.since(5, 12):
        # Shifted by the low six bits of the width.
        reserved = _M64 << (width & 63) & _M64 | _APIC_RESERVED
    if not vcpu.guest.has("X2APIC"):
        reserved |= X2APIC_ENABLE
    mode = value & (X2APIC_ENABLE | APIC_BASE_ENABLE)
    held = rule.check("the APIC base has no reserved bit", not value & reserved) and rule.check(
        "x2APIC comes with the APIC enabled", mode != X2APIC_ENABLE
    )
    if not held:
        return False
    if not vcpu.vm.has_lapic and not kvm.since(6, 0):
        value |= 1 << 8
    before, vcpu.apic_base = vcpu.apic_base, value
    if (before ^ value) & APIC_BASE_ENABLE:
        vcpu.cpuid_dirty = True
    if vcpu.lapic is not None:
        vcpu.lapic.base_changed(before, value)
    return True


def set_efer(vcpu: VcpuState, efer: int) -> None:
    """svm_set_efer, vmx_set_efer: a guest without SVME has no nested state."""
    before, vcpu.efer = vcpu.efer, efer
    if vcpu.kvm.is_svm and before & ~efer & EFER_SVME:
        vcpu.leave_nested()


def set_cr0(vcpu: VcpuState, cr0: int) -> None:
    """svm_set_cr0, vmx_set_cr0: with LME, paging turns LMA on and off."""
    if vcpu.efer & EFER_LME:
        if not vcpu.cr0 & CR0_PG and cr0 & CR0_PG:
            vcpu.efer |= EFER_LMA
        if vcpu.cr0 & CR0_PG and not cr0 & CR0_PG:
            vcpu.efer &= ~EFER_LMA
    vcpu.cr0 = cr0


def set_cr4(vcpu: VcpuState, cr4: int) -> None:
    """svm_set_cr4, vmx_set_cr4."""
    if (vcpu.cr4 ^ cr4) & (CR4_OSXSAVE | CR4_PKE):
        vcpu.cpuid_dirty = True
    vcpu.cr4 = cr4
    vcpu.cr4_osxsave = bool(cr4 & CR4_OSXSAVE)


def is_pae_paging(vcpu: VcpuState) -> bool:
    """is_pae_paging: paging with PAE outside of long mode."""
    return bool(vcpu.cr0 & CR0_PG and vcpu.cr4 & CR4_PAE and not vcpu.efer & EFER_LMA)


def load_pdptrs(vcpu: VcpuState) -> bool:
    """load_pdptrs: four entries of the guest's memory; those that were stay where one is not valid."""
    at = vcpu.cr3 & ~0x1F
    raw = bytes(vcpu.vm.memory[at : at + 32])
    if len(raw) < 32:
        return False
    found = struct.unpack("<4Q", raw)
    reserved = reserved_gpa_bits(vcpu) | _PDPTE_RESERVED
    if any(entry & 1 and entry & reserved for entry in found):
        return False
    vcpu.pdptrs = list(found)
    return True


def get_cr8(vcpu: VcpuState) -> int:
    """kvm_get_cr8: the task priority of an in-kernel APIC."""
    return vcpu.cr8 if vcpu.lapic is None else vcpu.lapic.read(0x80) >> 4 & 0xF


def set_cr8(vcpu: VcpuState, cr8: int) -> None:
    """kvm_set_cr8: a reserved bit, and nothing is set; nobody looks at what it answers."""
    if cr8 & ~_CR8_TPR:
        return
    if vcpu.lapic is None:
        vcpu.cr8 = cr8
    else:
        vcpu.lapic.set_tpr(cr8)
