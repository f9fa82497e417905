"""What differs between releases in KVM's checks of a vCPU's events, MP state, local APIC, nested state and clock.

Each field is named by the rule; the function that has it is beside it. Read from the sources that
``layouts/x86/kernels.py`` names, release by release.
"""

from __future__ import annotations

from layouts.kernels import release_numbers
from layouts.light import TYPE_CHECKING, Record, cache

if TYPE_CHECKING:
    from typing import Any


class VcpuRules(Record):
    """The rules of one release, oldest values as defaults (5.10).

    Events (kvm_vcpu_ioctl_x86_set_vcpu_events): ``events_triple_fault``: KVM_VCPUEVENT_VALID_TRIPLE_FAULT is a flag.
    ``events_init_wait``: SMM or a pending SMI is refused while the vCPU waits for SIPI. ``nmi_is_queued``: a pending
    NMI goes through process_nmi, which keeps one of them or two, and GET tells how many (5.10 and 6.1 keep the
    number as it is and tell whether there is one). ``leaving_smm_forgets_nmi``: smm_inside_nmi is cleared with it
    (kvm_smm_changed).

    MP state (kvm_arch_vcpu_ioctl_set_mpstate): ``mp_state_known``: only numbers that KVM knows. ``mp_state_blocked``:
    INIT and SIPI are refused where the vCPU would not take them (SMM, GIF clear, VMX root mode) or an SMI is pending.

    Local APIC (kvm_apic_state_fixup): ``x2apic_id_is_fixed``: without the x2APIC format the ID is the vCPU's, whatever
    was given; before, the given one moves by 24 bits. ``x2apic_icr``: ICR and ICR2 are one register in x2APIC mode,
    where the vendor does not split it: "" never, "vmx" not on AMD, "all" on both. ``xapic_id_again``: leaving x2APIC
    mode writes the xAPIC ID anew (kvm_lapic_set_base). ``tmcct_is_cleared``: the current count is 0 after
    KVM_SET_LAPIC.
    """

    events_triple_fault: bool = False
    events_init_wait: bool = True
    nmi_is_queued: bool = False
    leaving_smm_forgets_nmi: bool = False
    mp_state_known: bool = False
    mp_state_blocked: bool = True
    x2apic_id_is_fixed: bool = False
    x2apic_icr: str = ""
    xapic_id_again: bool = False
    tmcct_is_cleared: bool = False


def _after(before: VcpuRules, **changed: Any) -> VcpuRules:
    return before.replaced(**changed)


_5_10 = VcpuRules()
_6_1 = _after(
    _5_10,
    events_triple_fault=True,
    mp_state_known=True,
    leaving_smm_forgets_nmi=True,
    x2apic_icr="vmx",
    tmcct_is_cleared=True,
)
# 6.6.9 is before the stable updates that split AMD's ICR (73b42dc69be8).
_6_6 = _after(_6_1, nmi_is_queued=True, x2apic_icr="all", xapic_id_again=True)
_6_12 = _after(_6_6, x2apic_id_is_fixed=True, x2apic_icr="vmx")
_6_17 = _after(_6_12, events_init_wait=False, mp_state_blocked=False)

#: The profiles with rules of their own, by their names' numbers: a newer one has those of the one before.
_RULES = (((5, 10), _5_10), ((6, 1), _6_1), ((6, 6), _6_6), ((6, 12), _6_12), ((6, 17), _6_17))


@cache
def vcpu_rules(name: str) -> VcpuRules:
    """The rules of a kernel profile, by its name."""
    numbers = release_numbers(name) or (0, 0)
    return next((rules for since, rules in reversed(_RULES) if numbers >= since), _5_10)


#: KVM_SET_NESTED_STATE on AMD, what came with 7.1 (b71138fcc362: nested CR3; 96bd3e76a171: L1's CS): older series, and
#: the first update that is known to have it.
_NESTED_CHECKS_OF_7_1 = {(6, 1): 192, (6, 12): 117}
#: TLB_CONTROL was checked from 5.16 on (174a921b6975) until 6.8 (a484755ab252): updates that took the latter.
_TLB_CONTROL_UNTIL = {(6, 1): 75, (6, 6): 14}


def nested_checks_of_7_1(release: tuple[int, int, int]) -> bool:
    """Nested CR3, and CS of L1, are looked at (nested_vmcb_check_controls, nested_vmcb_check_save)."""
    since = _NESTED_CHECKS_OF_7_1.get(release[:2])
    return release >= (7, 1) or (since is not None and release[2] >= since)


def tlb_control_is_checked(release: tuple[int, int, int]) -> bool:
    """nested_svm_check_tlb_ctl."""
    until = _TLB_CONTROL_UNTIL.get(release[:2])
    return (5, 16) <= release < (6, 8) and (until is None or release[2] < until)
