"""The timers' registers. Time stands still here: a counter reads what was written to it last, 0 after reset.

Source: Linux arch/arm64/kvm/arch_timer.c (kvm_arm_timer_get_reg, kvm_arm_timer_set_reg, read_timer_ctl); since 6.18
sys_regs.c (arch_timer_get_user, arch_timer_set_user).
"""

from __future__ import annotations

from inspector.machine.arm64.arch import VcpuArch
from layouts.arm64.ids import encoding_of_op, sysreg_id
from layouts.arm64.listed import PTIMER_CNT, PTIMER_CTL, PTIMER_CVAL, TIMER_CNT, TIMER_CTL, TIMER_CVAL
from layouts.arm64.sysregs import encodings

#: ISTATUS of a control register; those have 32 bits where KVM computes them.
_ISTATUS, _LOW = 1 << 2, (1 << 32) - 1
COUNTERS = frozenset((TIMER_CNT, PTIMER_CNT))
_CONTROLS = {TIMER_CTL: (TIMER_CVAL, TIMER_CNT), PTIMER_CTL: (PTIMER_CVAL, PTIMER_CNT)}
_OF_EL2 = frozenset(encoding_of_op(encodings()[name]) for name in ("CNTHP_CTL_EL2", "CNTHV_CTL_EL2"))
_COMPARES = (TIMER_CVAL, PTIMER_CVAL, *(encoding_of_op(encodings()[f"CNTH{which}_CVAL_EL2"]) for which in "PV"))
_ALL = frozenset((*COUNTERS, *_CONTROLS, *_OF_EL2, *_COMPARES))


def is_special(encoding: int) -> bool:
    """The register is a timer's."""
    return encoding in _ALL


def _stored(vcpu: VcpuArch, encoding: int) -> int:
    return int.from_bytes(vcpu.values.get(sysreg_id(encoding), b""), "little")


def value(vcpu: VcpuArch, encoding: int) -> int:
    """KVM_GET_ONE_REG of such a register. Until 6.17 ISTATUS says that the timer expired, enabled or not."""
    stored = _stored(vcpu, encoding)
    if encoding in _CONTROLS and not vcpu.host.kernel.timers_stored:
        compare, counter = _CONTROLS[encoding]
        return stored | (_ISTATUS if _stored(vcpu, compare) <= _stored(vcpu, counter) else 0)
    return stored


def put(vcpu: VcpuArch, encoding: int, written: int) -> None:
    """KVM_SET_ONE_REG of such a register: ISTATUS is not written."""
    stored = vcpu.host.kernel.timers_stored
    if encoding in _CONTROLS or (stored and encoding in _OF_EL2):
        written &= ~_ISTATUS if stored else ~_ISTATUS & _LOW
    vcpu.values[sysreg_id(encoding)] = written.to_bytes(8, "little")
