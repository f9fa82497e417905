"""What a guest's MSR does to registers of the PMU and the timers, which do not simply hold what is written.

The PMU's are in :mod:`inspector.machine.arm64.pmu_guest`. The clock is left open.

Source: Linux arch/arm64/kvm/sys_regs.c (access_arch_timer); Arm ARM, CNTV_CTL_EL0.
"""

from __future__ import annotations

from inspector.machine.arm64 import pmu_guest, timers
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import ESR_UNDEF, Outcome, Rule
from layouts.arm64.ids import sysreg_id
from layouts.arm64.listed import PTIMER_CNT, PTIMER_CTL, PTIMER_CVAL, TIMER_CNT, TIMER_CTL, TIMER_CVAL

_CLOCK = "the host's clock"
#: What the guest names as the counter and its compare value; KVM's ids of the two are swapped (uapi/asm/kvm.h).
_SWAPPED = {TIMER_CNT: TIMER_CVAL, TIMER_CVAL: TIMER_CNT}
_ENABLE, _IMASK, _ISTATUS = 1, 2, 4
_COMPARE = {TIMER_CTL: TIMER_CVAL, PTIMER_CTL: PTIMER_CVAL}


def kept_as(encoding: int) -> int:
    """The encoding in KVM's ids of a register that a guest names."""
    return _SWAPPED.get(encoding, encoding)


def has_effects(vcpu: Vcpu, encoding: int) -> bool:
    """A write does not simply stay in the register."""
    return pmu_guest.is_pmu(vcpu, encoding) or timers.is_special(encoding)


def write(rule: Rule, vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    """MSR of such a register by its encoding in KVM's ids."""
    if timers.is_special(encoding):
        return _timer(rule, vcpu, encoding, value)
    return pmu_guest.write(rule, vcpu, encoding, value)


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
    return pmu_guest.read(rule, vcpu, encoding, value) if pmu_guest.is_pmu(vcpu, encoding) else rule.ok(value)


def _control(rule: Rule, vcpu: Vcpu, encoding: int, value: int) -> Outcome:
    """ISTATUS of a timer that is on: its compare value is not above the counter. Else it is UNKNOWN."""
    compare = vcpu.values.get(sysreg_id(_COMPARE[encoding]), b"")
    if not value & _ENABLE:
        return rule.depends("ISTATUS of a timer that is off, which is UNKNOWN")
    if any(compare):
        return rule.depends(_CLOCK)
    return rule.ok(value | _ISTATUS)
