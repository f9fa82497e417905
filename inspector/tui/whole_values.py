"""The selected field of all sides in full, and its bits, elements, rows or bytes that differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from inspector.capture.errors import visible
from inspector.decode.fields import Field
from inspector.decode.values import short_hex
from inspector.diff.parts import Part, parts
from inspector.tui.comparison import Comparison, digits
from layouts.salience import volatile

#: Values that are wider are told by their parts alone: a tile has 2,048 digits.
_WHOLE_BITS = 2048
_NAMES_SHOWN = 6


def values_text(comparison: Comparison, path: str) -> Text:
    """The values of a field by side, what most have first; what differs is marked."""
    groups = comparison.groups(path)
    fields = [field for _, field in groups]
    text = Text(visible(path), "bold")
    there = [field for field in fields if field is not None]
    title = there[0].spec.title if there else ""
    why = volatile(path)
    text.append(f"  {visible(title)}{f' ({why})' if why else ''}\n", "dim")
    odd, differing = comparison.odd(path), comparison.digits(path)
    names = [_names(comparison, sides) for sides, _ in groups]
    for (sides, field), name in zip(groups, names, strict=True):
        text.append(f"{'≠' if sides[0] in odd else ' '} {name}: ", "bold" if sides[0] in odd else "")
        _append_value(text, field, differing)
    if len(there) == len(fields) > 1:
        _append_parts(text, there, names)
    return text


def _names(comparison: Comparison, sides: Sequence[int]) -> str:
    names = [comparison.sides[side].name for side in sides]
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return visible(", ".join(names[:_NAMES_SHOWN]) + more)


def _append_value(text: Text, field: Field | None, differing: frozenset[int]) -> None:
    """A value with the digits that differ marked, and what it means."""
    if field is None or field.value is None:
        text.append(f"{visible(field.text) if field is not None else 'no such field'}\n")
        return
    if field.bits <= _WHOLE_BITS:
        text.append("0x")
        for at, digit in enumerate(f"{field.value:0{digits(field.bits)}x}"):
            text.append(digit, "bold reverse" if at in differing else "")
    said = field.text if not field.state or field.state in field.text else f"{field.state} {field.text}"
    text.append(f"  {visible(said)}\n")


def _append_parts(text: Text, fields: Sequence[Field], names: Sequence[str]) -> None:
    """Each part that differs, with its value in every group."""
    differing = parts(fields)
    if not differing:
        return
    name, bracket, _ = differing[0].name.partition("[")
    if bracket:
        of = -(-fields[0].bits // differing[0].width)
        text.append(f"{len(differing)} of {of} {name}s differ\n", "dim")
    wide = max(len(part.name) for part in differing)
    for part in differing:
        text.append(f"  {part.name:<{wide}}", "bold")
        for value, holder in zip(_part_texts(part, fields), names, strict=True):
            text.append("  ")
            text.append(visible(value), "bold")
            text.append(f" {holder}" if len(names) > 2 else "", "dim")
        text.append("\n")


def _part_texts(part: Part, fields: Sequence[Field]) -> Sequence[str]:
    """Values by name or in hex; bytes and rows of tiles as they lie in memory."""
    if fields[0].spec.register is not None:
        return part.texts(fields)
    if part.width <= 64:
        return [short_hex(value, part.width) for value in part.values]
    return [value.to_bytes(part.width // 8, "little").hex(" ", 4) for value in part.values]
