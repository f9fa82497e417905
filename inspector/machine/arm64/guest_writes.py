"""What a guest's MSR does to registers of the PMU and the timers, which do not simply hold what is written.

Source: Linux arch/arm64/kvm/sys_regs.c (access_pmcr, access_pmselr, access_pmu_evcntr, access_pmu_evtyper,
access_pmcnten, access_pminten, access_pmovs, access_pmswinc, access_pmuserenr), pmu-emul.c (kvm_pmu_handle_pmcr,
kvm_pmu_set_counter_event_type); Arm ARM, CNTV_CTL_EL0. Counters that run, and the clock, are left open.
"""

from __future__ import annotations

from inspector.machine.arm64 import pmu, timers
from inspector.machine.arm64.host import HAS_EL2
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import ESR_UNDEF, Outcome, Rule
from layouts.arm64.ids import PMCR, encoding_of_op, sysreg_id
from layouts.arm64.listed import PTIMER_CNT, PTIMER_CTL, PTIMER_CVAL, TIMER_CNT, TIMER_CTL, TIMER_CVAL
from layouts.arm64.sysregs import encodings

_CLOCK = "the host's clock"
#: What the guest names as the counter and its compare value; KVM's ids of the two are swapped (uapi/asm/kvm.h).
_SWAPPED = {TIMER_CNT: TIMER_CVAL, TIMER_CVAL: TIMER_CNT}
_ENABLE, _IMASK, _ISTATUS = 1, 2, 4
_COMPARE = {TIMER_CTL: TIMER_CVAL, PTIMER_CTL: PTIMER_CVAL}
_PMUSERENR, _PMCCFILTR, _PMSELR = (
    encoding_of_op(encodings()[name]) for name in ("PMUSERENR_EL0", "PMCCFILTR_EL0", "PMSELR_EL0")
)
_USERENR, _SEL = 0xF, 0x1F
#: Bits that a guest reads of registers that may hold more.
_SHOWN = {PMCR: ~pmu.RESETS, _PMSELR: _SEL, _PMUSERENR: _USERENR}


def kept_as(encoding: int) -> int:
    """The encoding in KVM's ids of a register that a guest names."""
    return _SWAPPED.get(encoding, encoding)


def has_effects(vcpu: Vcpu, encoding: int) -> bool:
    """A write does not simply stay in the register."""
    return pmu.is_special(vcpu, encoding) or timers.is_special(encoding) or encoding in (_PMUSERENR, _PMCCFILTR)


def write(rule: Rule, vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    """MSR of such a register by its encoding in KVM's ids."""
    if timers.is_special(encoding):
        return _timer(rule, vcpu, encoding, value)
    if vcpu.features & HAS_EL2 or vcpu.host.kernel.pmu_registers in ("plain", "reset"):
        return rule.depends("what a write does beside changing the register")
    if encoding == _PMUSERENR:
        return _keep(rule, vcpu, encoding, value & _USERENR)
    number = pmu.counter_number(encoding)
    if number is not None and not rule.check(f"the guest has event counter {number}", number < pmu.counters(vcpu)):
        return rule.fault(ESR_UNDEF)
    return pmu.guest_write(rule, vcpu, encoding, value)


def _timer(rule: Rule, vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    rule.source = "CNTV_CTL_EL0, CNTV_CVAL_EL0 (Arm ARM), access_arch_timer (sys_regs.c)"
    if encoding in _COMPARE:
        return _keep(rule, vcpu, encoding, value & (_ENABLE | _IMASK))
    if encoding in _COMPARE.values():
        return _keep(rule, vcpu, encoding, value)
    if not rule.check("no counter, which is read-only at EL1", encoding not in timers.COUNTERS):
        return rule.fault(ESR_UNDEF)
    return rule.depends("what a write does beside changing the register")


def _keep(rule: Rule, vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    vcpu.values[sysreg_id(encoding)] = value.to_bytes(8, "little")
    return rule.ok()


def read(rule: Rule, vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    """MRS: what differs from what KVM_GET_ONE_REG shows, which is ``value``."""
    if encoding in (TIMER_CNT, PTIMER_CNT):
        return rule.depends(_CLOCK)
    if encoding in _COMPARE:
        return _control(rule, vcpu, encoding, value & ~_ISTATUS)
    if pmu.counts(vcpu, encoding):
        return rule.depends("how far a counter that runs has come")
    return rule.ok(value & _SHOWN[encoding] if encoding in _SHOWN else value)


def _control(rule: Rule, vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    """ISTATUS of a timer that is on: its compare value is not above the counter. Else it is UNKNOWN."""
    compare = vcpu.values.get(sysreg_id(_COMPARE[encoding]), b"")
    if not value & _ENABLE:
        return rule.depends("ISTATUS of a timer that is off, which is UNKNOWN")
    if any(compare):
        return rule.depends(_CLOCK)
    return rule.ok(value | _ISTATUS)
