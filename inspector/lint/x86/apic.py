"""X0514 to X0523: the local APIC against IA32_APIC_BASE, CPUID, CR8 and MSRs."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check, group_check
from inspector.lint.state import State
from inspector.lint.x86.cpuid import apic_id

#: IA32_APIC_BASE: bits 9 and 7:0 (EXTD is judged by CPUID).
_RESERVED = 0x2FF
_XAPIC_ID_SHIFT = 24
_TSC_DEADLINE_MODE = 2
_ILLEGAL_VECTORS = 0xFFFF


@check("X0514")
def x2apic_not_offered(state: State) -> Iterator[Hit]:
    """EXTD against CPUID."""
    if state.bit("sregs.apic_base.EXTD") and state.feature("1.0.ecx.x2apic") is False:
        yield Hit("sregs.apic_base.EXTD", f"IA32_APIC_BASE is {state.hex('sregs.apic_base')}")


@check("X0515")
def x2apic_but_off(state: State) -> Iterator[Hit]:
    """EXTD against EN."""
    if state.bit("sregs.apic_base.EXTD") and not state.bit("sregs.apic_base.EN"):
        yield Hit("sregs.apic_base.EN", f"IA32_APIC_BASE is {state.hex('sregs.apic_base')}")


@check("X0516")
def base_reserved(state: State) -> Iterator[Hit]:
    """IA32_APIC_BASE's reserved bits."""
    base, width = state.number("sregs.apic_base"), state.physical_bits or 52
    if base is not None and (base & _RESERVED or base >> width):
        yield Hit("sregs.apic_base", f"IA32_APIC_BASE is {base:#x}, physical addresses have {width} bits")


@group_check("X0517")
def one_bootstrap_processor(states: list[State]) -> Iterator[Hit]:
    """BSP over vCPUs."""
    flags = [flag for state in states if (flag := state.bit("sregs.apic_base.BSP")) is not None]
    if len(flags) == len(states) and sum(flags) != 1:
        yield Hit("sregs.apic_base.BSP", f"{sum(flags)} of {len(flags)} vCPUs have it")


@check("X0518")
def own_id(state: State) -> Iterator[Hit]:
    """The id register against CPUID."""
    number, own = state.number("lapic.id"), apic_id(state)
    if number is None or own is None:
        return
    allowed = (
        {own, own << _XAPIC_ID_SHIFT & 0xFFFF_FFFF} if state.bit("sregs.apic_base.EXTD") else {own << _XAPIC_ID_SHIFT}
    )
    if number not in allowed and state.bit("sregs.apic_base.EN"):
        yield Hit("lapic.id", f"the id register is {number:#x}, CPUID says APIC id {own}")


@check("X0519")
def illegal_vectors(state: State) -> Iterator[Hit]:
    """Vectors 0 to 15."""
    for name in ("irr0", "isr0"):
        value = state.number(f"lapic.{name}") or 0
        if value & _ILLEGAL_VECTORS:
            yield Hit(f"lapic.{name}", f"{value:#x}")


def _is_deadline_mode(state: State) -> bool | None:
    mode = state.bit("lapic.lvt_timer.TIMER")
    return None if mode is None else mode == _TSC_DEADLINE_MODE


@check("X0520")
def deadline_not_offered(state: State) -> Iterator[Hit]:
    """LVT timer mode against CPUID."""
    if _is_deadline_mode(state) and state.feature("1.0.ecx.tsc_deadline_timer") is False:
        yield Hit("lapic.lvt_timer", f"{state.hex('lapic.lvt_timer')}")


@check("X0521")
def deadline_not_used(state: State) -> Iterator[Hit]:
    """IA32_TSC_DEADLINE against the LVT timer mode."""
    value = state.number("msr.IA32_TSC_DEADLINE")
    if value and _is_deadline_mode(state) is False:
        yield Hit("msr.IA32_TSC_DEADLINE", f"{value:#x}, the LVT timer is {state.hex('lapic.lvt_timer')}")


@check("X0522")
def priorities(state: State) -> Iterator[Hit]:
    """CR8 against TPR."""
    values = state.numbers("sregs.cr8", "lapic.tpr")
    if values is not None and values[0] != values[1] >> 4 & 0xF:
        yield Hit("lapic.tpr", f"CR8 is {values[0]:#x}, TPR is {values[1]:#x}")


@check("X0523")
def waiting_while_off(state: State) -> Iterator[Hit]:
    """IRR and ISR against SVR and IA32_APIC_BASE."""
    if state.bit("lapic.svr.ENABLED") != 0 and state.bit("sregs.apic_base.EN") != 0:
        return
    for name in (f"{register}{n}" for register in ("irr", "isr") for n in range(8)):
        value = state.number(f"lapic.{name}")
        if value:
            yield Hit(f"lapic.{name}", f"{value:#x}")
