"""As what vectors and tiles are read: what the user chose for registers of a kind, else what the values look like."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from inspector.decode.fields import Field, FieldTable
from inspector.decode.values import BY_NAME, ELEMENTS, Element, elements

#: What is in tiles comes first there, then all others.
_TILES_FIRST = ("i8", "u8", "bf16", "f16", "f32", "i32")
_OF_TILES = (*(BY_NAME[name] for name in _TILES_FIRST), *(one for one in ELEMENTS if one.name not in _TILES_FIRST))
_KINDS, _HEX = ("vector", "tile"), BY_NAME["x32"]
TILE_ROW_BYTES = 64
#: Powers of two between which nearly all numbers lie that somebody computes with.
_LEAST_POWER, _MOST_POWER = -24, 24
_NUMBER = re.compile(r"\[\d+\]")
#: An integer of 32 bits that is a sum of products of bytes: at most 64 of them in a tile's row, and some tiles.
_MOST_SUM = 1 << 24


class Elements:
    """The element types of a session, by kind of register; ``chosen`` are names of those that the user chose."""

    def __init__(self, chosen: Mapping[str, str] = MappingProxyType({})) -> None:
        self.chosen = {kind: name for kind, name in chosen.items() if name in BY_NAME}

    def of(self, field: Field, table: FieldTable) -> Element:
        """The type that was chosen for registers like this one, else a guess."""
        if field.spec.kind not in _KINDS or field.data is None:
            return _HEX
        chosen = self.chosen.get(_kind_of(field))
        return BY_NAME[chosen] if chosen else guessed(used_bytes(field, table), is_tile=_is_tile(field))

    def step(self, field: Field, table: FieldTable, by: int) -> None:
        """Another type for registers like this one."""
        if field.spec.kind in _KINDS and field.data is not None:
            known = _OF_TILES if _is_tile(field) else ELEMENTS
            self.chosen[_kind_of(field)] = known[(known.index(self.of(field, table)) + by) % len(known)].name


def za_bytes(field: Field, table: FieldTable) -> bytes:
    """All of ZA, where the field is one of its rows and all are captured."""
    if not field.path.startswith("za.row["):
        return b""
    rows = [table.decode(spec) for spec in table.find("za.row[*]")]
    return b"".join(row.shown_value() for row in rows) if all(row.data is not None for row in rows) else b""


def used_bytes(field: Field, table: FieldTable) -> bytes:
    """The bytes of a vector or a tile that are in use: of a configured tile those within its shape."""
    data = field.shown_value()
    if field.spec.kind != "tile":
        return za_bytes(field, table) or data
    rows, columns_bytes = tile_shape(field, table)
    if not rows:
        return data
    starts = range(0, rows * TILE_ROW_BYTES, TILE_ROW_BYTES)
    return b"".join(data[at : at + columns_bytes] for at in starts)


def tile_shape(field: Field, table: FieldTable) -> tuple[int, int]:
    """Rows and bytes a row of a tile as XTILECFG has it; (0, 0) when it is not configured."""
    number = field.path.rpartition("[")[2].rstrip("]")
    prefix = field.area.prefix
    found = []
    for member in ("rows", "colsb"):
        specs = table.find(f"{prefix}.xtilecfg.{member}[{number}]")
        value = table.decode(specs[0]).value if specs else None
        found.append(value or 0)
    return found[0], found[1]


def _kind_of(field: Field) -> str:
    """``zmm`` of ``xsave.zmm[3]``, ``za.row`` of ``za.row[7]``: without numbers and the area."""
    return _NUMBER.sub("", field.path).partition(".")[2] or field.path


def _is_tile(field: Field) -> bool:
    return field.spec.kind == "tile" or field.path.startswith("za.")


def guessed(data: bytes, *, is_tile: bool) -> Element:
    """What the bytes look like; where no kind of number is plausible bytes in tiles, words in hex in vectors."""
    fallback = BY_NAME["i8" if is_tile else "x32"]
    if not any(data):
        return fallback
    halves = [data[at : at + 2] for at in range(0, len(data), 2)]
    if any(any(half) for half in halves[0::2]) and _plausible(data, "bf16"):
        return BY_NAME["bf16"]
    if is_tile and _are_sums(data):
        return BY_NAME["i32"]
    if not is_tile and not _has_low_words(data) and _plausible(data, "f64") and not _are_pairs(data):
        return BY_NAME["f64"]
    if _plausible(data, "f32"):
        return BY_NAME["f32"]
    if not is_tile and _plausible(data, "f64"):
        return BY_NAME["f64"]
    return fallback


def _plausible(data: bytes, name: str) -> bool:
    """Every number is 0 or of an ordinary size."""
    found = elements(data, BY_NAME[name])
    numbers = [value for value in found if value != 0]
    return bool(numbers) and all(_is_ordinary(value) for value in numbers)


def _is_ordinary(value: float) -> bool:
    if not math.isfinite(value):
        return False
    return _LEAST_POWER <= math.frexp(value)[1] <= _MOST_POWER


def _are_sums(data: bytes) -> bool:
    words = elements(data, BY_NAME["i32"])
    return any(words) and all(abs(word) < _MOST_SUM for word in words)


def _words(data: bytes) -> Sequence[float]:
    return elements(data, BY_NAME["u32"])


def _has_low_words(data: bytes) -> bool:
    """The low words of pairs are not zero: of doubles that are round numbers they are."""
    return any(_words(data)[0::2])


def _are_pairs(data: bytes) -> bool:
    """The low words of pairs are like the high ones."""
    return _words(data)[0::2] == _words(data)[1::2]
