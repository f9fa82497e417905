"""Words of x86 events: MSRs by name."""

from __future__ import annotations

from inspector.machine.x86.cpu.instructions.control import MSRS


def msr(name: str) -> int:
    """An MSR by name. Raises ValueError."""
    if name not in MSRS:
        raise ValueError(f"no MSR {name}; there are {', '.join(MSRS)}")
    return MSRS[name]
