"""Rules over x86 state, a module for each group of codes."""

from layouts.lint.x86 import clocks, control, cpuid, events, msrs, segments, vmm, xsave

__all__ = ["RULES"]

RULES = (
    *xsave.RULES,
    *control.RULES,
    *segments.RULES,
    *msrs.RULES,
    *cpuid.RULES,
    *events.RULES,
    *clocks.RULES,
    *vmm.RULES,
)
