"""What an area of the capture file must have for its layout, checked before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inspector.capture.attributes import Attributes
from inspector.capture.store import PLAIN_ATTRIBUTES
from inspector.readers.numbers import is_number
from inspector.readers.synthesized import MAX_REGISTERS, is_register_id
from inspector.readers.text import shown
from layouts.secrets import KINDS

#: Layouts that are no entry of the registry, and the attribute that says what their bytes are.
BY_CONTENT = {
    "raw": "",
    "elf-auxv": "",
    "elf-file": "",
    "arm64-regs": "ids",
    "arm64-sve": "",
    "arm64-za": "",
    "qemu-section": "fields",
    "properties": "rows",
    "named-values": "named",
}
#: Kinds of named values, and the sizes in bytes that they take (none: any).
_KINDS = {"uint": (), "int": (), "vector": (), "predicate": (), "bytes": (), "text": (), "x87": (10,), "tile": (1024,)}
#: Lists of rows, which JSON has as lists.
_ROWS = frozenset({"fields", "rows", "named", "dropped"})
_MAX_ROWS = 1 << 16
_MAX_FIELDS = 250_000
_MAX_ELEMENTS = 250_000


class MalformedError(Exception):
    """Something of the header is not what the format says; the text says what."""


def checked_attributes(layout: str, given: Mapping[str, Any]) -> Attributes:
    """The attributes that this version knows; what has another type is left out.

    Raises MalformedError unless they are sound, and those are there that the layout needs.
    """
    found = {name: given[name] for name, kind in PLAIN_ATTRIBUTES.items() if isinstance(given.get(name), kind)}
    needed = BY_CONTENT.get(layout)
    if needed and needed not in found:
        raise MalformedError(f"layout {layout} without its {needed}")
    for name, check in _CHECKS.items():
        if name in found:
            check(found[name])
    checked: Any = {name: [*map(tuple, value)] if name in _ROWS else value for name, value in found.items()}
    attributes: Attributes = checked
    return attributes


def _each(name: str, shape: str, most: int, fits: Callable[[Any], bool]) -> Callable[[Any], None]:
    """A check of a list: how long, and of what."""

    def check(rows: Any) -> None:
        if len(rows) > most:
            raise MalformedError(f"{name}: {len(rows)} where at most {most} may be")
        for row in rows:
            if not fits(row):
                raise MalformedError(f"{name}: {shown(row, 40)} is not {shape}")

    return check


def _is_row(row: Any, texts: int, numbers: int) -> bool:
    return (
        isinstance(row, list)
        and len(row) == texts + numbers
        and all(isinstance(text, str) for text in row[:texts])
        and all(is_number(number, 32) for number in row[texts:])
    )


def _is_named(row: Any) -> bool:
    if not _is_row(row, 2, 1) or row[1] not in _KINDS or not 0 < row[2] <= 1 << 16:
        return False
    return not _KINDS[row[1]] or row[2] in _KINDS[row[1]]


def _is_id(number: Any) -> bool:
    return is_number(number, 64) and is_register_id(number)


def _fields(rows: Any) -> None:
    _each("fields", "[section, name, type, offset, size, count]", _MAX_FIELDS, lambda row: _is_row(row, 3, 3))(rows)
    if sum(row[5] for row in rows) > _MAX_ELEMENTS:
        raise MalformedError(f"fields: more than {_MAX_ELEMENTS} elements")


def _dropped(rows: Any) -> None:
    _each("dropped", "[kind, offset, size]", _MAX_ROWS, lambda row: _is_row(row, 1, 2) and row[0] in KINDS)(rows)
    end = 0
    for _, offset, size_bytes in rows:
        if offset < end:
            raise MalformedError(f"dropped: bytes at {offset:#x} twice, or out of order")
        end = offset + size_bytes


def _unknown(text: Any) -> None:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise MalformedError("unknown: not hex") from None


def _one_of(name: str, shape: str, fits: Callable[[Any], bool]) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not fits(value):
            raise MalformedError(f"{name}: {shown(value, 40)} is not {shape}")

    return check


_CHECKS: dict[str, Callable[[Any], None]] = {
    "fields": _fields,
    "rows": _each("rows", "[name, text]", _MAX_ROWS, lambda row: _is_row(row, 2, 0)),
    "named": _each("named", "[path, kind, size]", _MAX_ROWS, _is_named),
    "ids": _each("ids", "a register id", MAX_REGISTERS, _is_id),
    "unknown": _unknown,
    "dropped": _dropped,
    "note_type": _one_of("note_type", "a number of 32 bits", lambda value: is_number(value, 32)),
    "word_bytes": _one_of("word_bytes", "4 or 8", lambda value: value in (4, 8)),
}
