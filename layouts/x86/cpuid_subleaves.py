"""How the sub-leaves of a CPUID leaf are enumerated: which follow sub-leaf 0, and what ends them.

Source: Intel SDM vol. 2A, CPUID; Intel ISA Extensions Programming Reference (319433), chapter 1
(leaves 0x1E to 0x29); AMD APM vol. 3, appendix E.
"""

from __future__ import annotations

from enum import Enum

from layouts.light import NamedTuple

EAX, EBX, ECX, EDX = range(4)


class How(Enum):
    """What tells the sub-leaves of a leaf."""

    #: A register of sub-leaf 0 is the number of the last one.
    LAST = "sub-leaf 0 has the last number"
    #: Bit n of a register of sub-leaf 0 says that sub-leaf n is there.
    BITS = "sub-leaf 0 has a bit each"
    #: The first in which the masked bits of a register are 0 ends them.
    UNTIL = "a null sub-leaf ends them"
    #: The masked bits of a register are the sub-leaf's own number.
    OWN = "each has its own number"
    #: Leaf 0xD: XCR0's bits are in sub-leaf 0, those of IA32_XSS in sub-leaf 1.
    XSTATE = "one for each state component"


class Enumeration(NamedTuple):
    """How one leaf's sub-leaves are enumerated; ``register`` is EAX to EDX."""

    how: How
    register: int = EAX
    mask: int = 0xFFFF_FFFF
    #: The first sub-leaf that UNTIL looks at; those below are always there.
    first: int = 0


SUBLEAVES = {
    0x4: Enumeration(How.UNTIL, EAX, 0x1F),
    0x7: Enumeration(How.LAST),
    0xB: Enumeration(How.OWN, ECX, 0xFF),
    0xD: Enumeration(How.XSTATE),
    0xF: Enumeration(How.BITS, EDX),
    0x10: Enumeration(How.BITS, EBX),
    0x12: Enumeration(How.UNTIL, EAX, 0xF, first=2),
    0x14: Enumeration(How.LAST),
    0x17: Enumeration(How.LAST),
    0x18: Enumeration(How.LAST),
    0x1B: Enumeration(How.UNTIL, EAX, 0xFFF),
    0x1D: Enumeration(How.LAST),
    0x1E: Enumeration(How.LAST),
    0x1F: Enumeration(How.OWN, ECX, 0xFF),
    0x20: Enumeration(How.LAST),
    0x23: Enumeration(How.BITS, EAX),
    0x24: Enumeration(How.LAST),
    0x27: Enumeration(How.BITS, EDX),
    0x28: Enumeration(How.BITS, EBX),
    0x29: Enumeration(How.LAST),
    0x8000_001D: Enumeration(How.UNTIL, EAX, 0x1F),
    0x8000_0020: Enumeration(How.BITS, EBX),
    0x8000_0026: Enumeration(How.OWN, ECX, 0xFF),
}
