"""Fields of several states that differ, found without decoding what is equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from inspector.capture.model import Area
from inspector.decode.fields import Field, FieldTable, is_quiet
from inspector.decode.spec import FieldSpec, Span
from layouts.light import lru_cache
from layouts.salience import rank, volatile

#: Bytes are compared by blocks of this size before fields are decoded.
_BLOCK_BYTES = 64


_Place = tuple[FieldTable, FieldSpec]
_Places = dict[str, list[_Place | None]]


class Change:
    """A field that is not the same on all sides; it is decoded when its values are asked for."""

    __slots__ = ("_fields", "path", "places")

    def __init__(self, path: str, places: Sequence[_Place | None]) -> None:
        self.path = path
        #: Where it is on each side; None where a side has no such field.
        self.places = places
        self._fields: tuple[Field | None, ...] | None = None

    @property
    def fields(self) -> tuple[Field | None, ...]:
        """The field of each side; None where a side has no such field."""
        if self._fields is None:
            self._fields = tuple(None if place is None else place[0].decode(place[1]) for place in self.places)
        return self._fields

    @property
    def volatile(self) -> str:
        """Why it differs between any two captures; empty for most fields."""
        return volatile(self.path)

    @property
    def sign(self) -> str:
        """``+`` where only the last side has it, ``-`` where only the first has it, else ``~``."""
        if self.places[0] is None and self.places[-1] is not None:
            return "+"
        return "-" if self.places[0] is not None and self.places[-1] is None else "~"


class Missing(NamedTuple):
    """An area of which some sides hold nothing at all: its first word, title, fields, and the sides that have it."""

    prefix: str
    title: str
    fields: int
    sides: tuple[int, ...]


class Difference(NamedTuple):
    """What differs: fields in the order of their weight, areas that only some sides have, how many fields agree."""

    changes: list[Change]
    missing: list[Missing]
    equal: int

    @property
    def is_empty(self) -> bool:
        """Nothing differs."""
        return not self.changes and not self.missing


#: Value and state of a field, and how it reads.
Meaning = tuple[object, ...]


def difference(
    sides: Sequence[Sequence[Area]],
    patterns: Sequence[str] = (),
    *,
    whole: bool = False,
    table: Callable[[Area], FieldTable] = FieldTable,
) -> Difference:
    """Compare states field by field.

    A field is the same where its value and its state (initial, not captured) are. ``patterns`` are path globs.
    ``whole`` lists the fields of areas that a side lacks altogether too, instead of counting them.
    ``table`` decodes an area.
    """
    places, equal = _candidates([[table(area) for area in areas] for areas in sides], patterns)
    missing = [] if whole or patterns else _whole_areas(sides, places)
    changes = []
    for path, found in places.items():
        same = _same(found)
        change = Change(path, found)
        shown = meanings(change.fields) if same is None else []
        if same or (same is None and all(one == shown[0] for one in shown)):
            equal += same or shown[0] is not None
        else:
            changes.append(change)
    changes.sort(key=lambda change: rank(change.path))
    return Difference(changes, missing, equal)


def meanings(fields: Sequence[Field | None]) -> list[Meaning | None]:
    """What is compared of each: fields are the same where this is. None where there is no field that says anything."""
    read = len({field.area.layout for field in fields if field is not None}) == 1
    return [None if field is None or is_quiet(field) else _compared(field, read=read) for field in fields]


def within(changes: Sequence[Change]) -> dict[str, str]:
    """Fields all of whose bytes belong to a larger field that differs too: the path of the largest such field."""
    wide: dict[int, list[_Wide]] = {}
    for change in changes:
        table, spec = next(place for place in change.places if place is not None)
        bits = spec.bits
        if bits > 64 and spec.pieces:
            wide.setdefault(id(table.area), []).append(_Wide(change, bits, _blocks(spec.pieces)))
    found = {}
    for in_area in wide.values():
        holders: dict[int, _Wide] = {}
        for one in in_area:
            for block in one.blocks:
                if block not in holders or holders[block].bits < one.bits:
                    holders[block] = one
        for one in in_area:
            holder = holders[one.blocks[0]]
            alone = holder.bits > one.bits and all(holders[block] is holder for block in one.blocks)
            if alone and holder.change.sign == one.change.sign:
                found[one.change.path] = holder.change.path
    return found


class _Wide(NamedTuple):
    """A change of a field that is wider than a number, by the first side that has it."""

    change: Change
    bits: int
    blocks: tuple[int, ...]


@lru_cache(maxsize=1 << 12)
def _blocks(pieces: tuple[Span, ...]) -> tuple[int, ...]:
    """The 16-byte blocks of a field's bytes: vectors share them with their parts."""
    return tuple(at for offset, size in pieces for at in range(offset // 16, (offset + size - 1) // 16 + 1))


def _same(found: Sequence[_Place | None]) -> bool | None:
    """Whether a field at the same place, read in the same way, has the same bytes; None: decoding tells."""
    first = found[0]
    if first is None:
        return None
    table, spec = first
    same = True
    for place in found[1:]:
        if place is None or place[1] is not spec:
            return None
        one = place[0].same_value(table, spec)
        if one is None:
            return None
        same = same and one
    return same


def _compared(field: Field, *, read: bool) -> Meaning:
    """What makes two fields the same: value and state; in one format also width, and how the value reads."""
    if read:
        return field.value, field.state, field.text, field.bits
    return field.value, field.state, field.text if field.value is None else ""


def _candidates(tables: Sequence[Sequence[FieldTable]], patterns: Sequence[str]) -> tuple[_Places, int]:
    """Where each path that may differ is on each side, and how many fields are known to be the same."""
    by_prefix = [{table.area.prefix: table for table in side} for side in tables]
    skipped: dict[str, frozenset[int] | None] = {}
    equal = 0
    for prefix, first in by_prefix[0].items():
        others = [side.get(prefix) for side in by_prefix]
        if all(other is not None and _alike(first, other) for other in others):
            touched = _touched([other for other in others if other is not None])
            skipped[prefix] = touched
            equal += 0 if patterns else len(first.specs) - len(touched)
    places: _Places = {}
    for side, there in enumerate(tables):
        for table in there:
            for spec in _specs(table, skipped.get(table.area.prefix), patterns):
                found = places.setdefault(spec.path, [None] * len(tables))
                if found[side] is None:
                    found[side] = (table, spec)
    return places, equal


def _specs(table: FieldTable, touched: frozenset[int] | None, patterns: Sequence[str]) -> Iterable[FieldSpec]:
    """The specs of an area that are worth decoding: what the patterns choose, or what the bytes touch."""
    if patterns:
        return {spec.path: spec for pattern in patterns for spec in table.find(pattern)}.values()
    return table.specs if touched is None else (table.specs[at] for at in sorted(touched))


def _alike(one: FieldTable, other: FieldTable) -> bool:
    """The same fields at the same places, read in the same way."""
    if one is other:
        return True
    same = one.specs is other.specs or one.specs == other.specs
    return same and len(one.area.data) == len(other.area.data) and one.other_reading(other) is not None


def _touched(tables: Sequence[FieldTable]) -> frozenset[int]:
    """The numbers of the specs of which some byte, or something that they depend on, differs."""
    first = tables[0]
    data = bytes(first.area.data)
    blocks: set[int] = set()
    for table in tables[1:]:
        other = bytes(table.area.data)
        if other != data:
            blocks.update(
                block
                for block, at in enumerate(range(0, len(data), _BLOCK_BYTES))
                if data[at : at + _BLOCK_BYTES] != other[at : at + _BLOCK_BYTES]
            )
    holders = _holders(first.specs)
    touched = {at for block in blocks for at in holders.get(block, ())}
    components = 0
    for table in tables[1:]:
        components |= first.other_reading(table) or 0
    if components:
        touched.update(at for at, spec in enumerate(first.specs) if _is_of(spec, components))
    return frozenset(touched)


def _is_of(spec: FieldSpec, components: int) -> bool:
    return any(number >= 0 and components >> number & 1 for number in spec.components)


_HOLDERS: dict[int, tuple[tuple[FieldSpec, ...], dict[int, list[int]]]] = {}


def _holders(specs: tuple[FieldSpec, ...]) -> dict[int, list[int]]:
    """The specs that have bytes in each block; a fact has none. Kept by identity: areas of one layout share specs."""
    known = _HOLDERS.get(id(specs))
    if known is not None:
        return known[1]
    if len(_HOLDERS) > 64:
        _HOLDERS.clear()
    found: dict[int, list[int]] = {}
    _HOLDERS[id(specs)] = (specs, found)
    for at, spec in enumerate(specs):
        for piece in spec.pieces:
            last = piece.offset + max(piece.size_bytes, 1) - 1
            for block in range(piece.offset // _BLOCK_BYTES, last // _BLOCK_BYTES + 1):
                found.setdefault(block, []).append(at)
    return found


def _whole_areas(sides: Sequence[Sequence[Area]], places: _Places) -> list[Missing]:
    """Take out of ``places`` the areas of which another side has no field, and say which they are."""
    prefixes = [{area.prefix for area in areas} for areas in sides]
    if all(found == prefixes[0] for found in prefixes):
        return []
    shared: dict[int, set[int]] = {}
    for found in places.values():
        there = {side for side, place in enumerate(found) if place is not None}
        for place in found:
            if place is not None:
                shared.setdefault(id(place[0]), set()).update(there)
    counted: dict[tuple[str, str, tuple[int, ...]], int] = {}
    for path, found in list(places.items()):
        table = next(place[0] for place in found if place is not None)
        holders = shared[id(table)]
        if len(holders) < len(sides):
            spec = next(place[1] for place in found if place is not None)
            del places[path]
            if not spec.is_structure:
                key = (table.area.prefix, table.area.title, tuple(sorted(holders)))
                counted[key] = counted.get(key, 0) + 1
    return [Missing(*key[:2], count, key[2]) for key, count in counted.items()]
