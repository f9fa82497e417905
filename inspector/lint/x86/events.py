"""X0501 to X0513: events and run state."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.x86 import registers as reg

_NMI = 2
_EXCEPTIONS = 32
#: Exceptions with an error code: #DF, #TS to #PF, #AC, #CP.
_WITH_CODE = (8, 10, 11, 12, 13, 14, 17, 21)
#: KVM_MP_STATE_* that x86 takes, and those that need no APIC.
_MP_STATES = (0, 1, 2, 3, 4, 9)
_RUNNABLE = 0
#: KVM_X86_SHADOW_INT_*.
_MOV_SS, _STI = 1, 2
_EVENT = "vcpu_events.exception"


@check("X0501")
def no_such_exception(state: State) -> Iterator[Hit]:
    """The vector."""
    number = state.number(f"{_EVENT}.nr")
    on_its_way = state.number(f"{_EVENT}.injected") or state.number(f"{_EVENT}.pending")
    if number is not None and on_its_way and (number >= _EXCEPTIONS or number == _NMI):
        yield Hit(f"{_EVENT}.nr", f"vector {number}")


@check("X0502")
def injected_and_pending(state: State) -> Iterator[Hit]:
    """Both at once."""
    if state.number(f"{_EVENT}.injected") and state.number(f"{_EVENT}.pending"):
        yield Hit(f"{_EVENT}.pending", f"vector {state.number(f'{_EVENT}.nr')}")


@check("X0503")
def pending_without_flag(state: State) -> Iterator[Hit]:
    """Pending against PAYLOAD."""
    if state.number(f"{_EVENT}.pending") and not state.bit("vcpu_events.flags.PAYLOAD"):
        yield Hit(f"{_EVENT}.pending", f"flags is {state.hex('vcpu_events.flags')}")


@check("X0504")
def several(state: State) -> Iterator[Hit]:
    """Exception, interrupt and NMI."""
    injected = [kind for kind in ("exception", "interrupt", "nmi") if state.number(f"vcpu_events.{kind}.injected")]
    if len(injected) > 1:
        yield Hit(f"vcpu_events.{injected[1]}.injected", " and ".join(injected))


@check("X0505")
def error_code(state: State) -> Iterator[Hit]:
    """has_error_code against the vector."""
    values = state.numbers(f"{_EVENT}.nr", f"{_EVENT}.has_error_code")
    on_its_way = state.number(f"{_EVENT}.injected") or state.number(f"{_EVENT}.pending")
    if values is not None and on_its_way and state.bit("sregs.cr0.PE"):
        number, has_code = values
        if bool(has_code) != (number in _WITH_CODE):
            yield Hit(f"{_EVENT}.has_error_code", f"vector {number}, has_error_code {has_code}")


@check("X0506")
def nmi_without_flag(state: State) -> Iterator[Hit]:
    """nmi.pending against NMI_PENDING."""
    if state.number("vcpu_events.nmi.pending") and not state.bit("vcpu_events.flags.NMI_PENDING"):
        yield Hit("vcpu_events.nmi.pending", f"flags is {state.hex('vcpu_events.flags')}")


@check("X0507")
def smm_without_flag(state: State) -> Iterator[Hit]:
    """Smi against SMM."""
    if state.number("vcpu_events.smi.smm") and not state.bit("vcpu_events.flags.SMM"):
        yield Hit("vcpu_events.smi.smm", f"flags is {state.hex('vcpu_events.flags')}")


@check("X0508")
def flags(state: State) -> Iterator[Hit]:
    """Unknown flags."""
    unknown = (state.number("vcpu_events.flags") or 0) & ~reg.VCPU_EVENTS_FLAGS.known_mask
    if unknown:
        yield Hit("vcpu_events.flags", f"flags has {unknown:#x}")


@check("X0509")
def interrupt_not_let_in(state: State) -> Iterator[Hit]:
    """interrupt.injected against RFLAGS.IF."""
    injected, soft = state.number("vcpu_events.interrupt.injected"), state.number("vcpu_events.interrupt.soft")
    if injected and not soft and state.bit("regs.rflags.IF") == 0:
        yield Hit("vcpu_events.interrupt.injected", f"RFLAGS is {state.hex('regs.rflags')}")


@check("X0510")
def shadow(state: State) -> Iterator[Hit]:
    """interrupt.shadow against itself and RFLAGS.IF."""
    value = state.number("vcpu_events.interrupt.shadow") or 0
    if value & _STI and (value & _MOV_SS or state.bit("regs.rflags.IF") == 0):
        yield Hit("vcpu_events.interrupt.shadow", f"shadow {value}, RFLAGS.IF is {state.bit('regs.rflags.IF')}")


@check("X0511")
def inside_nmi(state: State) -> Iterator[Hit]:
    """smm_inside_nmi against smm."""
    if state.number("vcpu_events.smi.smm_inside_nmi") and not state.number("vcpu_events.smi.smm"):
        yield Hit("vcpu_events.smi.smm_inside_nmi", "smm is 0")


@check("X0512")
def run_state(state: State) -> Iterator[Hit]:
    """mp_state."""
    value = state.number("mp_state.mp_state")
    if value is not None and value not in _MP_STATES:
        yield Hit("mp_state.mp_state", f"mp_state is {value}")


@check("X0513")
def run_state_without_apic(state: State) -> Iterator[Hit]:
    """mp_state against the APIC."""
    value = state.number("mp_state.mp_state")
    if value and value in _MP_STATES and state.has("kvm-mp-state", "kvm-sregs") and not state.has("kvm-lapic"):
        yield Hit("mp_state.mp_state", f"mp_state is {value}, the capture has no local APIC")
