"""CPUID, XCR0, XSS and feature MSRs of an x86 guest and of a host as one number each, so that a pair is a few ANDs.

What is compared, and how, is what ``inspector/machine/x86/migrate/bits.py`` compares: the declarations of
``layouts/x86/combine.py`` by way of ``migrate/places.py``. A lane is a register at its place in the number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from inspector.machine.x86.kvm.leaves import as_shown
from inspector.machine.x86.migrate.bits import DESCRIBING, compared_msrs, msr_rule
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import XSTATE_LEAF, Place, parts_of
from layouts.x86.combine import Combine
from layouts.x86.features import REGISTERS
from layouts.x86.xsave import BY_NUMBER

_ZERO = (0, 0, 0, 0)
_COMPONENTS = tuple(number for number in BY_NUMBER if number >= 2)
#: A lane's kind as in Place, leaf or MSR or component, sub-leaf, register.
LaneKey = tuple[str, int, int, str]


class Lane(NamedTuple):
    """A register: where it begins in the number, how wide it is, and what of it is compared and how."""

    key: LaneKey
    at: int
    width: int
    parts: tuple[tuple[Place, Combine, int], ...]

    @property
    def mask(self) -> int:
        """The whole register in its place."""
        return ((1 << self.width) - 1) << self.at


class Asked(NamedTuple):
    """A guest: its values, and the lanes that it has."""

    values: int
    present: int


class Given(NamedTuple):
    """A host: what it shows, what it may give besides, the parts that are known; ``open`` those that are not."""

    shown: int
    may: int
    known: int
    open: int


class Lanes:
    """The registers of some guests and hosts, and the rules of their bits as masks."""

    def __init__(self, guests: Iterable[Guest], destinations: Iterable[Destination]) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self.rules: dict[Combine, int] = dict.fromkeys(("and", "or", "equal", "at_most", "ignore"), 0)
        self._numbers: list[int] = []
        #: The lane of each bit, and the parts of each value that a lane was asked for.
        self._at: list[Lane] = []
        self._parts: dict[tuple[int, int], tuple[tuple[Place, Combine], ...]] = {}
        self._end = 0
        leaves = {key for guest in guests for key in as_shown(guest.table)}
        leaves |= {key for destination in destinations for key in destination.supported.leaves}
        for leaf, subleaf in sorted(leaves):
            for register in REGISTERS:
                self._add(("cpuid", leaf, subleaf, register), 32, parts_of(leaf, subleaf, register))
        for kind in ("xcr0", "xss"):
            self._add((kind, XSTATE_LEAF, 0, ""), 64, _bits(kind, XSTATE_LEAF, 64))
        for number in _COMPONENTS:
            for register in ("eax", "ebx"):
                place = Place("xstate", XSTATE_LEAF, number, register, 31, 0)
                self._add(("xstate", XSTATE_LEAF, number, register), 32, ((place, "equal", place.mask),))
        for index in {index for guest in guests for index in compared_msrs(guest.table)}:
            self._add(("msr", index, 0, ""), 64, _bits("msr", index, 64))

    def _add(self, key: LaneKey, width: int, parts: tuple[tuple[Place, Combine, int], ...]) -> None:
        if not parts:
            return
        lane = self._lanes[key] = Lane(key, self._end, width, parts)
        self._end += width
        self._at += [lane] * width
        for _, rule, mask in parts:
            self.rules[rule] |= mask << lane.at
            if rule == "at_most":
                self._numbers.append(mask << lane.at)

    # What guests and hosts are as numbers

    def asked(self, guest: Guest) -> Asked:
        """A guest."""
        table, msrs = guest.table, guest.msrs
        shown, compared = as_shown(table), compared_msrs(table)
        eax, _, _, edx = table.get((XSTATE_LEAF, 0), _ZERO)
        _, _, ecx, high = table.get((XSTATE_LEAF, 1), _ZERO)
        masks = {"xcr0": eax | edx << 32, "xss": ecx | high << 32}
        values = present = 0
        for (kind, at, subleaf, register), lane in self._lanes.items():
            if kind == "cpuid":
                row = shown.get((at, subleaf))
                value, has = (row[REGISTERS.index(register)], True) if row is not None else (0, False)
            elif kind == "xstate":
                row = table.get((XSTATE_LEAF, subleaf), _ZERO)
                value, has = row[REGISTERS.index(register)], bool(row[0] and masks["xcr0"] >> subleaf & 1)
            elif kind == "msr":
                value, has = msrs.get(at, 0), at in msrs and at in compared
            else:
                value, has = masks[kind], True
            if has:
                values |= value << lane.at
                present |= lane.mask
        return Asked(values, present)

    def given(self, host: Destination) -> Given:
        """A host."""
        shown = may = known = open_ = 0
        for (kind, at, subleaf, register), lane in self._lanes.items():
            mine, more, told, untold = _given(host, kind, at, subleaf, register)
            shown |= mine << lane.at
            may |= more << lane.at
            for _, rule, mask in lane.parts:
                if not mask & ~told:
                    known |= mask << lane.at
                elif untold and rule != "ignore":
                    open_ |= mask << lane.at
        return Given(shown, may, known, open_)

    # Pairs

    def blocked(self, guest: Asked, host: Given) -> int:
        """The bits that the guest cannot keep there; 0 where it can keep all that is known."""
        found = guest.values & self.rules["and"] & host.known & ~host.may
        target = host.shown | guest.values & host.may
        found |= (guest.values ^ target) & self.rules["equal"] & host.known & guest.present
        differs = (guest.values ^ target) & self.rules["at_most"] & host.known
        if differs:
            for mask in self._numbers:
                if differs & mask and guest.values & mask > target & mask:
                    found |= mask
        return found

    def hangs(self, guest: Asked, host: Given) -> int:
        """The bits of the guest of which the host's are not known."""
        return guest.values & guest.present & host.open

    def mask_of(self, wanted: Place) -> int:
        """A bit or a field in its place; 0 where nobody has its register."""
        lane = self._lanes.get((wanted.kind, wanted.at, wanted.subleaf, wanted.register))
        return wanted.mask << lane.at if lane is not None else 0

    def places(self, bits: int) -> tuple[tuple[Place, Combine], ...]:
        """The bits and fields of a number with their rules, in order."""
        found: list[tuple[Place, Combine]] = []
        while bits:
            lane = self._at[(bits & -bits).bit_length() - 1]
            value = (bits & lane.mask) >> lane.at
            bits &= ~lane.mask
            parts = self._parts.get((lane.at, value))
            if parts is None:
                parts = self._parts[lane.at, value] = tuple(
                    (place, rule) for place, rule, mask in lane.parts if value & mask
                )
            found += parts
        return tuple(found)


def _bits(kind: str, at: int, width: int) -> tuple[tuple[Place, Combine, int], ...]:
    places = (Place(kind, at, 0, "", bit, bit) for bit in range(width))
    return tuple((place, msr_rule(at, place.low) if kind == "msr" else "and", place.mask) for place in places)


def _given(host: Destination, kind: str, at: int, subleaf: int, register: str) -> tuple[int, int, int, bool]:
    """What a host shows of a register, what it may give, the bits that are known, and whether others are open."""
    everything = (1 << 64) - 1
    if kind == "xcr0":
        return host.kvm.xcr0, host.kvm.xcr0, everything, False
    if kind == "xss":
        return host.kvm.xss, host.kvm.xss, everything, False
    if kind == "xstate":
        row = host.supported.get(XSTATE_LEAF, subleaf) or _ZERO
        told = bool(host.knows_areas and host.kvm.xcr0 >> subleaf & 1 and row[0])
        return row[REGISTERS.index(register)], 0, everything if told else 0, False
    if kind == "msr":
        if not host.has_feature_msr(at):
            return 0, 0, 0, False
        value = host.feature_msr(at)
        return (0, 0, 0, True) if value is None else (value, value, everything, False)
    shown = host.shown(at, subleaf, register)
    if at in DESCRIBING and not shown:
        return 0, 0, 0, False
    return shown, host.word(at, subleaf, register), host.known(at, subleaf, register), True
