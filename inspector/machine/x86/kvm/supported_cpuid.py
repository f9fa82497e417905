"""KVM_GET_SUPPORTED_CPUID and KVM_GET_EMULATED_CPUID.

Source: Linux arch/x86/kvm/cpuid.c, kvm_dev_ioctl_get_cpuid, __do_cpuid_func, cpuid_func_emulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.machine.x86.kvm.guest_cpuid import Entry

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm


def supported_cpuid(kvm: Kvm) -> tuple[Entry, ...]:
    """The entries of KVM_GET_SUPPORTED_CPUID, in the kernel's order."""
    return tuple(Entry(leaf, subleaf, 0, *values) for (leaf, subleaf), values in kvm.host.cpuid.leaves.items())
