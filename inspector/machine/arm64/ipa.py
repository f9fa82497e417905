"""KVM_CREATE_VM: the type says how many bits a guest physical address (IPA) has.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_init_vm), mmu.c (kvm_init_ipa_range; 5.10 and 6.1: reset.c,
kvm_arm_setup_stage2).
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import pkvm
from inspector.machine.arm64.capabilities import ipa_bits
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.pkvm import PROTECTED_SINCE, PROTECTED_TYPE

#: KVM_VM_TYPE_ARM_IPA_SIZE_MASK; ARM64_MIN_PARANGE_BITS; KVM_PHYS_SHIFT, of type 0.
_SIZE_MASK, _LEAST_BITS, DEFAULT_BITS = 0xFF, 32, 40


def create(host: Host, vm_type: int, *, abi: str) -> tuple[Outcome, Vm | None]:
    """KVM_CREATE_VM; the VM where it was made."""
    rule = Rule("kvm_arch_init_vm (arm.c), kvm_init_ipa_range (mmu.c)")
    known = _SIZE_MASK | (PROTECTED_TYPE if pkvm.release_of(host) >= PROTECTED_SINCE else 0)
    if not rule.check(f"the type has no bit outside {known:#x}", not vm_type & ~known):
        return rule.refuse(errno.EINVAL), None
    is_protected, vm_type = bool(vm_type & PROTECTED_TYPE), vm_type & _SIZE_MASK
    most = ipa_bits(host)
    bits = vm_type or DEFAULT_BITS
    if vm_type and not rule.check(f"at least {_LEAST_BITS} bits", bits >= _LEAST_BITS):
        return rule.refuse(errno.EINVAL), None
    if not rule.check(f"no more bits than the host has for stage 2 ({most})", bits <= most):
        return rule.refuse(errno.EINVAL), None
    if is_protected and not rule.check("the host is in protected mode (kvm-arm.mode=protected)", host.pkvm):
        return rule.refuse(errno.EINVAL), None
    vm = Vm(host, abi=abi)
    vm.protected = is_protected
    vm.ipa_bits = bits
    return rule.ok(), vm
