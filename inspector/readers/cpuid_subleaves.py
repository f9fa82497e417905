"""Sub-leaf numbers of CPUID lines that have none: the leaf itself says which come after the first.

Old dumps print the sub-leaves of a leaf one under the other, and may leave out those that are
all zero. A number is given only where no other fits (layouts/x86/cpuid_subleaves.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inspector.capture.host import CpuidValues
from layouts.x86.cpuid_subleaves import SUBLEAVES, Enumeration, How
from layouts.x86.xsave import COMPONENTS, EXTENDED_OFFSET

_Fits = Callable[[int, CpuidValues], bool]

_XCR0_SIZES = {c.number: c.size_bytes for c in COMPONENTS if not c.supervisor}
_XSS_SIZES = {c.number: c.size_bytes for c in COMPONENTS if c.supervisor}
#: Sub-leaves that are looked at where some were left out: leaf 0xD has no more.
_LIMIT = 64


def numbered(leaf: int, rows: Sequence[CpuidValues]) -> list[int | None]:
    """The sub-leaf number of each line of one leaf, in the order of the dump; None where it cannot be told."""
    if len(rows) == 1:
        return [0]
    rule = SUBLEAVES.get(leaf)
    if rule is None:
        return [0] + [0 if row == rows[0] else None for row in rows[1:]]
    if rule.how is How.OWN:
        return _own(rule, rows)
    fits = _test_of(rule, rows[0])
    places: list[int | None] = [place if not place or fits(place, row) else None for place, row in enumerate(rows)]
    if None in places and rule.how in (How.BITS, How.XSTATE):
        return _rising(rows, fits)
    return places


def _own(rule: Enumeration, rows: Sequence[CpuidValues]) -> list[int | None]:
    numbers = [row[rule.register] & rule.mask if any(row) else place for place, row in enumerate(rows)]
    first = {number: place for place, number in reversed(list(enumerate(numbers)))}
    return [number if first[number] == place else None for place, number in enumerate(numbers)]


def _test_of(rule: Enumeration, head: CpuidValues) -> _Fits:
    """Whether a line can be that sub-leaf, by what sub-leaf 0 enumerates."""
    word = head[rule.register]
    if rule.how is How.XSTATE:
        return lambda number, row: _fits_xstate(head, number, row)
    if rule.how is How.LAST:
        return lambda number, row: number <= word or not any(row)
    if rule.how is How.BITS:
        return lambda number, row: bool(word >> number & 1) or not any(row)
    return lambda number, row: number < rule.first or bool(row[rule.register] & rule.mask) or not any(row)


def _fits_xstate(head: CpuidValues, number: int, row: CpuidValues) -> bool:
    eax, ebx, ecx, edx = row
    if number == 1:
        return eax < 0x100 and (ebx == 0 or ebx >= EXTENDED_OFFSET)
    if (head[0] | head[3] << 32) >> number & 1:
        room = ebx >= EXTENDED_OFFSET and ebx + eax <= max(head[1], head[2])
        return room and 0 < eax == _XCR0_SIZES.get(number, eax) and ecx & 1 == edx == 0
    if not any(row):
        return True
    return number in _XSS_SIZES and 0 < eax == _XSS_SIZES[number] and ebx == 0 and bool(ecx & 1)


def _rising(rows: Sequence[CpuidValues], fits: _Fits) -> list[int | None]:
    """Numbers that rise from 0, some left out: the only one that fits each line."""
    lowest, at = [0], 0
    for row in rows[1:]:
        lowest.append(next((n for n in range(at + 1, _LIMIT) if fits(n, row)), -1))
        at = max(at, lowest[-1])
    highest, at = [0], _LIMIT
    for row in reversed(rows[1:]):
        highest.append(next((n for n in range(at - 1, 0, -1) if fits(n, row)), -2))
        at = highest[-1] if highest[-1] > 0 else at
    highest = [0, *reversed(highest[1:])]
    return [low if low == high else None for low, high in zip(lowest, highest, strict=True)]
