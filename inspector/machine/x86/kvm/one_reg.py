"""KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST, which x86 has from 6.18 on.

Source: Linux arch/x86/kvm/x86.c (kvm_get_set_one_reg, kvm_translate_kvm_reg, kvm_get_reg_list),
arch/x86/include/uapi/asm/kvm.h (struct kvm_x86_reg_id).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.msrs.access import read, write
from inspector.machine.x86.kvm.msrs.rule import Refusal

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

_SOURCE = "kvm_get_set_one_reg (x86.c)"
_ARCH, _X86 = 0xFF << 56, 0x20 << 56
_SIZE, _SIZE_U64 = 0xF << 52, 3 << 52
_RESERVED = 0xFFF << 40
_TYPE_MSR, _TYPE_KVM = 2, 3
GUEST_SSP = 0
_CANONICAL_BITS, _CANONICAL_BITS_LA57 = 48, 57


def register_id(kind: int, index: int) -> int:
    """KVM_X86_REG_ID: 64 bits of an MSR (2) or of KVM's own registers (3)."""
    return _X86 | _SIZE_U64 | kind << 32 | index


def _exists(vcpu: WholeVcpu, rule: Rule) -> int:
    """Before 6.18 KVM has no such ioctl on x86: kvm_arch_vcpu_ioctl does not know its number."""
    known = rule.check("the kernel has KVM_CAP_ONE_REG on x86 (from 6.18 on)", vcpu.kvm.since(6, 18))
    return 0 if known else errno.EINVAL


def reg_list(vcpu: WholeVcpu, room: int) -> tuple[Outcome, tuple[int, ...]]:
    """KVM_GET_REG_LIST: the shadow stack pointer, where the guest has shadow stacks."""
    rule = Rule("kvm_get_reg_list (x86.c)")
    code = _exists(vcpu, rule)
    if code:
        return rule.refuse(code), ()
    found = (register_id(_TYPE_KVM, GUEST_SSP),) if vcpu.guest.has("SHSTK") else ()
    if not rule.check(f"room for {len(found)} registers", room >= len(found)):
        return rule.refuse(errno.E2BIG), ()
    return rule.ok(), found


def _checked(vcpu: WholeVcpu, rule: Rule, register: int) -> bool:
    kind, index = register >> 32 & 0xFF, register & 0xFFFFFFFF
    held = (
        not _exists(vcpu, rule)
        and rule.check("an id of x86", register & _ARCH == _X86)
        and rule.check("the reserved bits of the id are 0", not register & _RESERVED)
    )
    if held and kind == _TYPE_KVM:
        held = rule.check("the register of KVM is GUEST_SSP", index == GUEST_SSP) and rule.check(
            "the guest has shadow stacks", vcpu.guest.has("SHSTK")
        )
    else:
        held = held and rule.check("an MSR or a register of KVM", kind == _TYPE_MSR)
    return held and rule.check("64 bits", register & _SIZE == _SIZE_U64)


def get_one_reg(vcpu: WholeVcpu, register: int) -> Outcome:
    """KVM_GET_ONE_REG: EINVAL too for an MSR that is not there."""
    rule = Rule(_SOURCE)
    if not _checked(vcpu, rule, register):
        return rule.refuse(errno.EINVAL)
    if register >> 32 & 0xFF == _TYPE_KVM:
        return rule.ok(vcpu.guest_ssp)
    found = read(vcpu, register & 0xFFFFFFFF)
    if isinstance(found, Refusal):
        rule.check(found.told(register & 0xFFFFFFFF), held=False)
        return rule.refuse(errno.EINVAL)
    return rule.ok(found)


def set_one_reg(vcpu: WholeVcpu, register: int, value: int) -> Outcome:
    """KVM_SET_ONE_REG: an MSR as by KVM_SET_MSRS, but with an errno."""
    rule = Rule(_SOURCE)
    if not _checked(vcpu, rule, register):
        return rule.refuse(errno.EINVAL)
    if register >> 32 & 0xFF == _TYPE_KVM:
        held = rule.check("the address is canonical", _is_canonical(vcpu, value)) and rule.check(
            "the address is a multiple of 4", not value & 3
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        vcpu.guest_ssp = value
        return rule.ok()
    refusal = write(vcpu, register & 0xFFFFFFFF, value)
    if refusal is not None:
        rule.check(refusal.told(register & 0xFFFFFFFF, value), held=False)
        return rule.refuse(errno.EINVAL)
    return rule.ok()


def _is_canonical(vcpu: WholeVcpu, address: int) -> bool:
    """is_noncanonical_msr_address: by the host's width."""
    bits = _CANONICAL_BITS_LA57 if vcpu.kvm.has("LA57") else _CANONICAL_BITS
    return address >> (bits - 1) in (0, (1 << (65 - bits)) - 1)
