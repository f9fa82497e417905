"""KVM_SET_CPUID2, KVM_SET_CPUID, KVM_GET_CPUID2.

Source: Linux arch/x86/kvm/cpuid.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.guest_cpuid import Entry, GuestCpuid

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

KVM_MAX_CPUID_ENTRIES = 256


def set_cpuid2(vcpu: WholeVcpu, entries: tuple[Entry, ...]) -> Outcome:
    """KVM_SET_CPUID2."""
    rule = Rule("kvm_vcpu_ioctl_set_cpuid2, kvm_set_cpuid (cpuid.c)")
    if not rule.check(f"at most {KVM_MAX_CPUID_ENTRIES} entries", len(entries) <= KVM_MAX_CPUID_ENTRIES):
        return rule.refuse(errno.E2BIG)
    vcpu.guest = GuestCpuid(vcpu.kvm, entries)
    return rule.ok()
