"""KVM_ARM_VCPU_INIT: which features a vCPU may have, and what it has to do with the other vCPUs of its VM.

Source: Linux arch/arm64/kvm/arm.c (kvm_vcpu_init_check_features, __kvm_vcpu_set_target; 5.10 and 6.1:
kvm_vcpu_set_target), reset.c (5.10: vcpu_allowed_register_width; 6.1: kvm_set_vm_width).
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.host import (
    EL1_32BIT,
    HAS_EL2,
    HAS_EL2_E2H0,
    PMU_V3,
    PMU_V3_STRICT,
    POWER_OFF,
    PTRAUTH,
    SVE,
)
from inspector.machine.outcome import Outcome, Rule

#: KVM_ARM_TARGET_GENERIC_V8.
GENERIC_V8 = 5
#: Bits in kvm_vcpu_init.features.
_FEATURE_BITS = 7 * 32


def check(vcpu: VcpuArch, features: int, target: int | None) -> Outcome:
    """The checks of an init; accepted, they leave the vCPU's features set.

    ``features`` has 224 bits; ``target`` None is what KVM_ARM_PREFERRED_TARGET gives.
    """
    rule = Rule("kvm_vcpu_init_check_features, kvm_vcpu_set_target (arm.c)")
    host = vcpu.host
    targets = {host.target, GENERIC_V8} if host.kernel.vm_wide_features else {host.target}
    if target is not None and not rule.check(f"the target is one of {sorted(targets)}", target in targets):
        return rule.refuse(errno.EINVAL)
    if host.kernel.vm_wide_features:
        return _check_vm_wide(rule, vcpu, features)
    return _check_bit_by_bit(rule, vcpu, features)


def _check_vm_wide(rule: Rule, vcpu: VcpuArch, features: int) -> Outcome:
    """All features first, then that they are the VM's."""
    vm, host = vcpu.vm, vcpu.host
    features &= ~POWER_OFF
    known = (1 << host.kernel.vcpu_features) - 1
    if not rule.check(f"only features that the kernel knows ({known:#x})", not features & ~known):
        return rule.refuse(errno.ENOENT)
    supported = host.features | (HAS_EL2_E2H0 & known) | (PMU_V3_STRICT & known if host.features & PMU_V3 else 0)
    is_32bit = features & EL1_32BIT
    held = (
        rule.check(f"only features that the host supports ({supported:#x})", not features & ~supported)
        and rule.check("both pointer authentication features or none", features & PTRAUTH in (0, PTRAUTH))
        and (
            not known & PMU_V3_STRICT
            or rule.check("PMU_V3_STRICT only with PMU_V3", not features & PMU_V3_STRICT or features & PMU_V3)
        )
        and rule.check("not 32-bit EL1 with MTE", not (is_32bit and vm.mte))
        and rule.check("not 32-bit EL1 with EL2", not (is_32bit and features & HAS_EL2))
        and rule.check("the same features as the VM's first vCPU", vm.features in (None, features))
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    vcpu.features = features
    return rule.ok()


def _check_bit_by_bit(rule: Rule, vcpu: VcpuArch, features: int) -> Outcome:
    """Each bit in turn: ENOENT, then whether this vCPU had it before. What was set stays when a later one fails."""
    known = vcpu.host.kernel.vcpu_features
    for bit in range(_FEATURE_BITS):
        wants = features >> bit & 1
        if bit >= known:
            if not features >> bit:
                break
            if wants and not rule.check(f"only features that the kernel knows (bits 0 to {known - 1})", held=False):
                return rule.refuse(errno.ENOENT)
            continue
        same = not vcpu.initialized or vcpu.features >> bit & 1 == wants
        if not same and not rule.check(f"bit {bit} is as in the vCPU's init before", held=False):
            return rule.refuse(errno.EINVAL)
        vcpu.features |= wants << bit
    if _can_reset(rule, vcpu):
        return rule.ok()
    vcpu.initialized, vcpu.features = False, 0
    return rule.refuse(errno.EINVAL)


def _can_reset(rule: Rule, vcpu: VcpuArch) -> bool:
    """What kvm_reset_vcpu asks of the features."""
    features, host = vcpu.features, vcpu.host
    return (
        _has_vms_width(rule, vcpu)
        and rule.check("the host has SVE", not features & SVE or host.features & SVE)
        and rule.check(
            "both pointer authentication features or none, and the host's",
            features & PTRAUTH in (0, PTRAUTH) and not features & PTRAUTH & ~host.features,
        )
        and rule.check("the host has a PMU", not features & PMU_V3 or host.features & PMU_V3)
    )


def _has_vms_width(rule: Rule, vcpu: VcpuArch) -> bool:
    """All vCPUs of a VM are 32-bit, or none is."""
    vm, host = vcpu.vm, vcpu.host
    wants = vcpu.features & EL1_32BIT
    if not host.kernel.shared_width:
        others = all(other.features & EL1_32BIT == wants for other in vm.vcpus.values())
        return rule.check("the host has 32-bit EL1", not wants or host.features & EL1_32BIT) and rule.check(
            "every vCPU of the VM has the same register width", others
        )
    if vm.width is not None:
        return rule.check("the register width is the VM's", vm.width == wants)
    held = rule.check("the host has 32-bit EL1", not wants or host.features & EL1_32BIT) and rule.check(
        "not 32-bit EL1 with MTE", not (wants and vm.mte)
    )
    if held:
        vm.width = wants
    return held
