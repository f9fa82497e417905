"""KVM_SET_XCRS and KVM_GET_XCRS of a whole vCPU.

Source: Linux arch/x86/kvm/x86.c, kvm_vcpu_ioctl_x86_set_xcrs, kvm_vcpu_ioctl_x86_get_xcrs.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from inspector.machine.outcome import Outcome, Rule
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

KVM_MAX_XCRS = 16


def set_xcrs(
    vcpu: WholeVcpu, entries: Sequence[tuple[int, int]], *, count: int | None = None, flags: int = 0
) -> Outcome:
    """KVM_SET_XCRS with entries (register, value), of which ``count`` are told (nr_xcrs)."""
    if not vcpu.kvm.boot_has("XSAVE"):
        rule = Rule("kvm_vcpu_ioctl_x86_set_xcrs (x86.c)")
        rule.check("Linux on the host has XSAVE", held=False)
        return rule.refuse(errno.EINVAL)
    told = len(entries) if count is None else count
    before = vcpu.xcr0
    # More than the structure has room for are refused by their number.
    told = min(told, KVM_MAX_XCRS + 1)
    given = [*entries[:told], *[(1, 0)] * (told - len(entries))]
    outcome = vcpu.set_xcrs(*given, flags=flags)
    if outcome.accepted and vcpu.xcr0 != before:
        vcpu.cpuid_dirty = True
    return outcome


def get_xcrs(vcpu: WholeVcpu) -> tuple[int, int]:
    """KVM_GET_XCRS: how many registers there are, and XCR0."""
    return (1, vcpu.xcr0) if vcpu.kvm.boot_has("XSAVE") else (0, 0)
