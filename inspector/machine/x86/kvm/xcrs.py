"""KVM_SET_XCRS and KVM_GET_XCRS of a whole vCPU.

Source: Linux arch/x86/kvm/x86.c, kvm_vcpu_ioctl_x86_set_xcrs, kvm_vcpu_ioctl_x86_get_xcrs.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inspector.machine.outcome import Outcome, Rule

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

XCR0 = 0


def set_xcrs(
    vcpu: WholeVcpu, entries: Sequence[tuple[int, int]], *, count: int | None = None, flags: int = 0
) -> Outcome:
    """KVM_SET_XCRS with entries (register, value), of which ``count`` are told (nr_xcrs)."""
    if not vcpu.kvm.boot_has("XSAVE"):
        rule = Rule("kvm_vcpu_ioctl_x86_set_xcrs (x86.c)")
        rule.check("Linux on the host has XSAVE", False)
        return rule.refuse(errno.EINVAL)
    told = len(entries) if count is None else count
    before = vcpu.xcr0
    # More entries than the structure has room for are no entries, and refused by their number.
    given = [*entries[:told], *[(1, 0)] * (told - len(entries))] if told <= 17 else [(1, 0)] * 17
    outcome = vcpu.set_xcrs(*given, flags=flags)
    if outcome.accepted and vcpu.xcr0 != before:
        vcpu.cpuid_dirty = True
    return outcome
