"""A VM: capabilities, its vCPUs, which ID registers user space may write.

Source: Linux arch/arm64/kvm/arm.c, sys_regs.c.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import pkvm
from inspector.machine.arm64.arch import MAX_VCPU_IDS, MAX_VCPUS, KvmArch
from inspector.machine.arm64.capabilities import has_capability
from inspector.machine.arm64.host import MTE
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.pkvm import MASK_RANGES

CAP_MTE, CAP_WRITABLE_IMP_ID_REGS = 205, 239
#: KVM_CAP_ARM_NISV_TO_USER, SYSTEM_SUSPEND and SEA_TO_USER: what is passed to user space, never refused.
_PASSED_ON = (177, 216, 245)


class Vm(KvmArch):
    """What a VMM can ask of a VM."""

    vcpus: dict[int, Vcpu]

    def enable_cap(self, capability: int) -> Outcome:
        """KVM_ENABLE_CAP of the VM: MTE, writable implementation ID registers, what is passed to user space."""
        if capability == CAP_WRITABLE_IMP_ID_REGS:
            return self.enable_imp_id_regs()
        rule = Rule("kvm_vm_ioctl_enable_cap (arm.c)")
        if not self._may_have(rule, capability):
            return rule.refuse(errno.EINVAL)
        if capability in _PASSED_ON and has_capability(self.host, capability):
            return rule.ok()
        held = (
            rule.check("a capability of a VM", capability == CAP_MTE and self.host.kernel.mte)
            and rule.check("the host has MTE", self.host.with_mte)
            and rule.check("the VM has no vCPU yet", not self.vcpus)
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        self.mte = MTE
        return rule.ok()

    def enable_imp_id_regs(self) -> Outcome:
        """KVM_CAP_ARM_WRITABLE_IMP_ID_REGS."""
        rule = Rule("kvm_vm_ioctl_enable_cap (arm.c)")
        if not self._may_have(rule, CAP_WRITABLE_IMP_ID_REGS):
            return rule.refuse(errno.EINVAL)
        held = rule.check("the kernel has the capability", self.host.kernel.imp_ids) and rule.check(
            "the VM has no vCPU yet", not self.vcpus
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        self.writable_imp = True
        return rule.ok()

    def _may_have(self, rule: Rule, capability: int) -> bool:
        """What kvm_pkvm_ext_allowed says of a capability; no check of a host in another mode."""
        if not self.host.pkvm:
            return True
        allowed = pkvm.allows(self.host, capability, is_protected=self.protected)
        return rule.check("pKVM lets the VM have it", allowed)

    def create_vcpu(self, number: int) -> Outcome:
        """KVM_CREATE_VCPU."""
        rule = Rule("kvm_vm_ioctl_create_vcpu (kvm_main.c), kvm_arch_vcpu_precreate (arm.c)")
        if not rule.check(f"the number is below {MAX_VCPU_IDS}", number < MAX_VCPU_IDS):
            return rule.refuse(errno.EINVAL)
        most = MAX_VCPUS[self.vgic or self.host.gic]
        room = most if self.host.kernel.counts_vcpus else MAX_VCPU_IDS
        if not rule.check(f"the VM has fewer than {room} vCPUs", len(self.vcpus) < room):
            return rule.refuse(errno.EINVAL)
        if not rule.check("the VM's GIC is not initialized yet", not self.vgic_initialized):
            return rule.refuse(errno.EBUSY)
        if not rule.check(f"the GIC has room for it (a number below {most})", number < most):
            return rule.refuse(errno.EINVAL)
        if not rule.check("no vCPU has this number", number not in self.vcpus):
            return rule.refuse(errno.EEXIST)
        self.vcpus[number] = Vcpu(self, number)
        return rule.ok()

    def writable_masks(self, *, range_number: int = 0, reserved: int = 0, readable: bool = True) -> Outcome:
        """KVM_ARM_GET_REG_WRITABLE_MASKS; ``readable``: the pointer can be written through."""
        rule = Rule("kvm_vm_ioctl_get_reg_writable_masks (sys_regs.c)")
        if not self._may_have(rule, MASK_RANGES):
            return rule.refuse(errno.EINVAL)
        held = rule.check("the kernel has this call", self.host.kernel.reports_masks) and rule.check(
            "the range and all reserved words are 0", not range_number and not reserved
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        if not rule.check("the pointer can be written through", readable):
            return rule.refuse(errno.EFAULT)
        return rule.ok()
