"""What a text finds in a capture, the likeliest first: fields, bits, elements, bytes; of one vCPU or of all.

The register itself comes first, then what begins so, then its parts and paths that have the text, then meanings, then
values. Toolkit-free. Names and meanings are gathered once for all areas of a layout, values for the areas that were
searched last: of thousands of vCPUs nothing is kept but what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from inspector.capture.model import Area
from inspector.decode.fields import FieldTable
from inspector.decode.spec import FieldSpec
from inspector.decode.values import element_text, elements
from inspector.tui.elements import Elements
from inspector.tui.table import ShownTable

#: Before a text: every vCPU is searched.
EVERYWHERE = "*"
#: So many vCPUs are searched, the one that is looked at first.
MOST_VCPUS = 256
#: Bytes as they lie in memory, two or more of them: ``0f ae 29``.
_BYTES = re.compile("[0-9a-f]{2}( +[0-9a-f]{2})+ *")
#: What has no text that is worth searching.
_MUTE = ("vector", "tile", "bytes", "gap", "reserved", "predicate")
_NAME, _BEGINS, _PART, _PATH, _MEANS, _VALUE = range(6)
#: Arm's names of features begin so.
_FEATURE = "feat_"
#: Sizes and offsets of components come behind the components.
_BEHIND = 10


class Match(NamedTuple):
    """A field, bit or element that was found; ``area`` is its number among the areas of the vCPU."""

    rank: int
    vcpu: int
    area: int
    place: int
    path: str


#: So many layouts have their words kept, and so many areas their values.
_MOST_KEPT = 32


class _Word(NamedTuple):
    """What is searched of a field or of a bit, in small letters; ``has_value``: what it holds, too."""

    place: int
    path: str
    name: str
    means: str
    is_structure: bool
    has_value: bool = False
    is_part: bool = False


class Searcher:
    """Searches the areas of a capture."""

    def __init__(self) -> None:
        #: By specs, which areas of a layout share.
        self._words: dict[int, tuple[tuple[FieldSpec, ...], list[_Word]]] = {}
        #: By area, with the bytes that they are of: the values that were asked for, by place.
        self._values: dict[int, tuple[Area, object, dict[int, str]]] = {}

    def find(self, text: str, vcpu: int, areas: Sequence[Area], types: Elements) -> list[Match]:
        """All matches in the areas of a vCPU, the likeliest first; ``types`` are their element types."""
        found = []
        for number, area in enumerate(areas):
            matches = _bytes_in(area, text) if _BYTES.fullmatch(text) else self._in(area, text, types)
            found += [Match(rank, vcpu, number, place, path) for rank, place, path in matches]
        return found

    def _in(self, area: Area, text: str, types: Elements) -> Iterator[tuple[int, int, str]]:
        table, values = ShownTable(area), self._values_of(area)
        for word in self._words_of(table):
            rank = _rank(word, text)
            if rank is None and word.has_value:
                value = values.get(word.place)
                if value is None:
                    value = values[word.place] = table.decode(table.specs[word.place]).text.lower()
                rank = _VALUE if value and text in value else None
            if rank is not None:
                yield rank + _BEHIND * word.is_structure, word.place, word.path
        if text.startswith(_FEATURE):
            yield from _registers_of(table, text)
        if "[" in text or text[:1].isdigit() or text[:1] == "-":
            yield from _elements_in(table, text, types)

    def _words_of(self, table: ShownTable) -> list[_Word]:
        # The specs are kept with them: their number is nobody else's as long as they are here.
        kept = self._words.get(id(table.specs))
        if kept is None:
            _forget(self._words)
            kept = self._words[id(table.specs)] = (table.specs, list(_words(table)))
        return kept[1]

    def _values_of(self, area: Area) -> dict[int, str]:
        kept = self._values.pop(id(area), None)
        if kept is None or kept[1] is not area.data:
            _forget(self._values)
            kept = (area, area.data, {})
        self._values[id(area)] = kept
        return kept[2]


def _forget(kept: dict[int, Any]) -> None:
    """The one that was asked for longest ago goes."""
    if len(kept) >= _MOST_KEPT:
        del kept[next(iter(kept))]


def _registers_of(table: ShownTable, feature: str) -> Iterator[tuple[int, int, str]]:
    """The ID registers by which Arm's feature of that name is seen (``FEAT_SVE2``)."""
    from layouts.arm64.arm_features import places_of

    wanted = {f"sysreg.{register}" for register, _ in places_of(feature)}
    yield from ((_NAME, place, spec.path) for place, spec in enumerate(table.specs) if spec.path in wanted)


def _words(table: ShownTable) -> Iterator[_Word]:
    for place, spec in enumerate(table.specs):
        means, has_value = spec.title.lower(), spec.kind not in _MUTE
        yield _Word(place, spec.path, _name(spec.path), means, spec.is_structure, has_value)
        if spec.register is not None:
            for child in table.parts(spec, "*"):
                means = child.title.lower()
                yield _Word(place, child.path, _name(child.path), means, spec.is_structure, is_part=True)


def _name(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _rank(word: _Word, text: str) -> int | None:
    path = word.path.lower()
    rank = None
    if text == path or (text == word.name and not word.is_part):
        rank = _NAME
    elif word.name.startswith(text) and not word.is_part:
        rank = _BEGINS
    elif word.is_part and (text in word.name or ("." in text and text in path)):
        rank = _PART
    elif text in path and not word.is_part:
        rank = _PATH
    elif text in word.means:
        rank = _MEANS
    return rank


def _bytes_in(area: Area, text: str) -> Iterator[tuple[int, int, str]]:
    """Fields in which the bytes begin; those of a component that is not in use too: they lie there."""
    wanted, table = bytes.fromhex(text), ShownTable(area)
    data = bytes(area.data)
    at = data.find(wanted)
    last = None
    while at >= 0:
        place = table.at(at)
        if place is not None and place != last:
            yield _NAME, place, table.specs[place].path
            last = place
        at = data.find(wanted, at + 1)


def _elements_in(table: ShownTable, text: str, types: Elements) -> Iterator[tuple[int, int, str]]:
    """Elements by their path (``zmm[3].u32[2]``), or by their value in the type that is chosen."""
    if "[" in text:
        numbers = {spec.path: place for place, spec in enumerate(table.specs)}
        for spec in table.parts_named(text):
            yield _PART, numbers[spec.path.rpartition(".")[0]], spec.path
        return
    for place, spec in enumerate(table.specs):
        if spec.kind == "vector":
            yield from ((_VALUE, place, path) for path in _equal(table, spec, text, types))


def _equal(table: FieldTable, spec: FieldSpec, text: str, types: Elements) -> Iterator[str]:
    field = table.decode(spec)
    if field.value is None:
        return
    element = types.of(field, table)
    for number, value in enumerate(elements(field.shown_value(), element)):
        if value and (_same(value, text) or element_text(value, element).lower() == text):
            yield f"{spec.path}.{element.name}[{number}]"


def _same(value: float, text: str) -> bool:
    try:
        return value == (int(text, 0) if isinstance(value, int) else float(text))
    except ValueError:
        return False
