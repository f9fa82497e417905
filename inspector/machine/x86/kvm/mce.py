"""KVM_X86_SETUP_MCE and KVM_X86_SET_MCE.

Source: Linux arch/x86/kvm/x86.c (kvm_vcpu_ioctl_x86_setup_mce, kvm_vcpu_ioctl_x86_set_mce).
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.capabilities import mce_capabilities
from inspector.machine.x86.kvm.msrs import mce as msrs
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

MOST_BANKS = 32
_BANKS, _EXTENDED = 0xFF, 0xFF0000
_VALID = 1 << 63


def setup_mce(vcpu: WholeVcpu, mcg_cap: int) -> Outcome:
    """KVM_X86_SETUP_MCE: the guest's IA32_MCG_CAP."""
    rule = Rule("kvm_vcpu_ioctl_x86_setup_mce (x86.c)")
    known = mce_capabilities(vcpu.kvm) | _BANKS | _EXTENDED
    held = rule.check(f"1 to {MOST_BANKS} banks", 0 < mcg_cap & _BANKS <= MOST_BANKS) and rule.check(
        f"no capabilities but {known:#x}", not mcg_cap & ~known
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    vcpu.mcg_cap = mcg_cap
    msrs.after_setup(vcpu)
    if vcpu.lapic is not None:
        vcpu.lapic.after_mcg_cap()
    return rule.ok()


def set_mce(vcpu: WholeVcpu, bank: int, status: int) -> Outcome:
    """KVM_X86_SET_MCE: a machine check for the guest."""
    rule = Rule("kvm_vcpu_ioctl_x86_set_mce (x86.c)")
    banks = vcpu.mcg_cap & _BANKS
    held = rule.check(f"the bank is one of the guest's {banks}", bank < banks) and rule.check(
        "the status is valid (MCi_STATUS.VAL)", status & _VALID
    )
    return rule.ok() if held else rule.refuse(errno.EINVAL)
