"""KVM_GET_MP_STATE and KVM_SET_MP_STATE, with the INIT and SIPI that wait for a vCPU.

Source: Linux arch/x86/kvm/x86.c (kvm_arch_vcpu_ioctl_set_mpstate, kvm_arch_vcpu_ioctl_get_mpstate),
lapic.c (kvm_apic_accept_events).
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import Outcome, Rule
from layouts.light import TYPE_CHECKING
from layouts.x86.vcpu_rules import vcpu_rules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

RUNNABLE, UNINITIALIZED, INIT_RECEIVED, HALTED, SIPI_RECEIVED, AP_RESET_HOLD = 0, 1, 2, 3, 4, 9
_KNOWN = (RUNNABLE, UNINITIALIZED, INIT_RECEIVED, HALTED, SIPI_RECEIVED, AP_RESET_HOLD)


def init_blocked(vcpu: WholeVcpu) -> bool:
    """The vCPU does not take INIT now: SMM, GIF clear, VMX root mode (kvm_apic_init_sipi_allowed)."""
    return vcpu.is_smm or vcpu.nested.blocks_init


def set_mp_state(vcpu: WholeVcpu, state: int) -> Outcome:
    """KVM_SET_MP_STATE. SIPI_RECEIVED becomes INIT_RECEIVED with a SIPI that waits."""
    rule = Rule("kvm_arch_vcpu_ioctl_set_mpstate (x86.c)")
    rules = vcpu_rules(vcpu.kvm.kernel.name)
    held = (not rules.mp_state_known or rule.check("a state that KVM knows: 0 to 4, 9", state in _KNOWN)) and (
        state == RUNNABLE or rule.check("another state than RUNNABLE needs KVM's local APIC", vcpu.vm.has_lapic)
    )
    if held and rules.mp_state_blocked and state in (INIT_RECEIVED, SIPI_RECEIVED):
        held = rule.check("INIT is not blocked (SMM, GIF, VMX root mode; before 6.17)", not init_blocked(vcpu))
        held = held and rule.check("no SMI is pending (before 6.17)", not vcpu.pending.smi_pending)
    if not held:
        return rule.refuse(errno.EINVAL)
    if state == SIPI_RECEIVED:
        vcpu.pending.sipi_pending = True
        state = INIT_RECEIVED
    vcpu.mp_state = state
    return rule.ok()


def get_mp_state(vcpu: WholeVcpu) -> int:
    """KVM_GET_MP_STATE: first, what waits is taken."""
    accept_events(vcpu)
    return vcpu.mp_state


def accept_events(vcpu: WholeVcpu) -> None:
    """kvm_apic_accept_events: INIT resets the vCPU, SIPI starts it; a SIPI that finds it elsewhere is lost."""
    pending = vcpu.pending
    if not vcpu.vm.has_lapic or not (pending.init_pending or pending.sipi_pending):
        return
    if init_blocked(vcpu):
        pending.sipi_pending = False
        return
    if pending.init_pending:
        pending.init_pending = False
        vcpu.reset_by_init()
        vcpu.mp_state = RUNNABLE if vcpu.is_bsp else INIT_RECEIVED
    if pending.sipi_pending:
        pending.sipi_pending = False
        if vcpu.mp_state == INIT_RECEIVED:
            vcpu.mp_state = RUNNABLE
