"""Checks over x86 state."""

from inspector.lint.x86 import apic, clocks, control, cpuid, events, msrs, nested, segments, vmm, xsave

__all__ = ["apic", "clocks", "control", "cpuid", "events", "msrs", "nested", "segments", "vmm", "xsave"]
