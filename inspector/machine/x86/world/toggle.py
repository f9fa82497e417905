"""A component of XCR0 the other way, with what goes with it."""

from __future__ import annotations

from layouts.x86.xsave import XCR0_SETS, Xcr0Set


def xcr0_toggled(xcr0: int, component: int) -> int:
    """XCR0 with a component the other way: all of its set, what that needs, or what needs it."""
    bit = 1 << component
    own = next((one for one in XCR0_SETS if one.bits & bit), Xcr0Set(bit, 0, ""))
    if not xcr0 & bit:
        return xcr0 | own.bits | own.needs
    dependent = sum(one.bits for one in XCR0_SETS if one.needs & own.bits)
    return xcr0 & ~(own.bits | dependent)


def xcr0_whole(xcr0: int) -> int:
    """An XCR0 with the rest of each set that it has a part of, and what that needs."""
    for one in XCR0_SETS:
        if xcr0 & one.bits:
            xcr0 |= one.bits | one.needs
    return xcr0
