"""X02xx: control registers, EFER and segments against each other and against CPUID."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check
from inspector.lint.state import State

CR0_PG = 1 << 31
CR4_PAE = 1 << 5
EFER_LME = 1 << 8
EFER_LMA = 1 << 10


@check("X0201")
def long_mode(state: State) -> Iterator[Hit]:
    """CR0.PG, CR4.PAE, EFER.LME and EFER.LMA."""
    cr0, cr4, efer = (state.number(f"sregs.{name}") for name in ("cr0", "cr4", "efer"))
    if cr0 is None or cr4 is None or efer is None:
        return
    evidence = f"CR0 {cr0:#x}, CR4 {cr4:#x}, EFER {efer:#x}"
    if efer & EFER_LME and cr0 & CR0_PG:
        if not (cr4 & CR4_PAE and efer & EFER_LMA):
            yield Hit("sregs.efer", f"{evidence}: paging with LME needs PAE and LMA")
    elif efer & EFER_LMA:
        yield Hit("sregs.efer", f"{evidence}: LMA without paging and LME")
