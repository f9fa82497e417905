"""KVM_SET_GUEST_DEBUG. Source: Linux arch/x86/kvm/x86.c (kvm_arch_vcpu_ioctl_set_guest_debug)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from inspector.machine.outcome import Outcome, Rule

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

ENABLE, INJECT_DB, INJECT_BP = 1, 1 << 18, 1 << 19
_DB, _BP = 1, 3


def set_guest_debug(vcpu: WholeVcpu, control: int) -> Outcome:
    """Any flags are taken. #DB or #BP is injected where no exception is pending, from 7.1 on nor injected."""
    rule = Rule("kvm_arch_vcpu_ioctl_set_guest_debug (x86.c)")
    events = vcpu.pending
    if control & (INJECT_DB | INJECT_BP):
        free = rule.check("no exception is pending", not events.pending)
        if free and vcpu.kvm.since(7, 1):
            free = rule.check("no exception is injected (from 7.1 on)", not events.injected)
        if not free:
            return rule.refuse(errno.EBUSY)
        events.pending, events.vector = True, _DB if control & INJECT_DB else _BP
    return rule.ok()
