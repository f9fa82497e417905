"""A05xx: PMU, timers and firmware registers."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.lint.arm64.counters import BITMAPS, PSCI_VERSIONS

_WORKAROUND = "fw.SMCCC_ARCH_WORKAROUND_{}"
_LEVELS, _LEVELS_2 = 2, 3
_LEVEL, _ON = 0xF, 0x10
_AVAILABLE, _AVAILABLE_2 = 1, 2
_CYCLE_COUNTER = 1 << 31
_ENABLE, _ISTATUS, _TIMER_BITS = 1, 4, 7


@check("A0501")
def psci(state: State) -> Iterator[Hit]:
    """PSCI's version."""
    value = state.number("fw.PSCI_VERSION")
    if value is not None and value not in PSCI_VERSIONS:
        yield Hit("fw.PSCI_VERSION", f"{value:#x}")


@check("A0502")
def levels(state: State) -> Iterator[Hit]:
    """Levels of workarounds."""
    for number, most in ((1, _LEVELS), (2, _LEVELS_2), (3, _LEVELS)):
        path = _WORKAROUND.format(number)
        value = state.number(path) or 0
        level = value & ~_ON if number == _AVAILABLE_2 else value
        if level > most:
            yield Hit(path, f"{value:#x}")


@check("A0503")
def on_but_not_available(state: State) -> Iterator[Hit]:
    """Bit 4 of SMCCC_ARCH_WORKAROUND_2."""
    path = _WORKAROUND.format(2)
    value = state.number(path) or 0
    if value & _ON and value & _LEVEL != _AVAILABLE_2:
        yield Hit(path, f"{value:#x}")


@check("A0504")
def hypercalls(state: State) -> Iterator[Hit]:
    """Bitmaps."""
    for name, count in BITMAPS.items():
        value = state.number(f"fw.{name}") or 0
        if value >> count:
            yield Hit(f"fw.{name}", f"{value:#x}, {count} bits are known")


@check("A0505")
def counters(state: State) -> Iterator[Hit]:
    """PMCNTENSET_EL0 against PMCR_EL0.N, with counting on."""
    number, enabled = state.bit("sysreg.PMCR_EL0.N"), state.number("sysreg.PMCNTENSET_EL0") or 0
    beyond = enabled & ~_CYCLE_COUNTER & ~((1 << (number or 0)) - 1)
    if number is not None and beyond and state.bit("sysreg.PMCR_EL0.E"):
        yield Hit("sysreg.PMCNTENSET_EL0", f"{enabled:#x}, PMCR_EL0.N is {number}")


@check("A0506")
def views(state: State) -> Iterator[Hit]:
    """Set and clear."""
    for one, other in (
        ("PMCNTENSET_EL0", "PMCNTENCLR_EL0"),
        ("PMINTENSET_EL1", "PMINTENCLR_EL1"),
        ("PMOVSSET_EL0", "PMOVSCLR_EL0"),
    ):
        values = state.numbers(f"sysreg.{one}", f"sysreg.{other}")
        if values is not None and values[0] != values[1] and state.has("arm64-regs"):
            yield Hit(f"sysreg.{other}", f"{values[1]:#x}, {one} is {values[0]:#x}")


@check("A0507")
def fired(state: State) -> Iterator[Hit]:
    """CNTV_CTL_EL0.ISTATUS."""
    values = state.numbers("sysreg.CNTV_CTL_EL0", "sysreg.CNTV_CVAL_EL0", "sysreg.CNTVCT_EL0")
    if values is not None and values[0] & _ENABLE and state.has("arm64-regs"):
        control, compare, count = values
        if bool(control & _ISTATUS) and count < compare:
            yield Hit("sysreg.CNTV_CTL_EL0", f"CTL {control:#x}, the counter is {compare - count} ticks before CVAL")


@check("A0508")
def timer_reserved(state: State) -> Iterator[Hit]:
    """CNTV_CTL_EL0's reserved bits."""
    value = state.number("sysreg.CNTV_CTL_EL0") or 0
    if value & ~_TIMER_BITS:
        yield Hit("sysreg.CNTV_CTL_EL0", f"{value:#x}")


@check("A0509")
def branch_prediction(state: State) -> Iterator[Hit]:
    """SMCCC_ARCH_WORKAROUND_1 against CSV2."""
    path, csv2 = _WORKAROUND.format(1), state.number("id.ID_AA64PFR0_EL1.CSV2")
    if state.number(path) == _AVAILABLE and csv2:
        yield Hit(path, f"level 1 (available), CSV2 is {csv2}")
