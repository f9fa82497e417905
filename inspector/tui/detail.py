"""Everything about one field, as rich text: value in every form, bits, place, source."""

from __future__ import annotations

from itertools import zip_longest
from textwrap import fill
from typing import NamedTuple

from rich.text import Text

from inspector.capture.errors import visible
from inspector.decode import values
from inspector.decode.fields import NOT_CAPTURED, Field, FieldTable
from inspector.decode.notes import Note
from inspector.decode.values import BY_NAME, Element
from inspector.tui.elements import TILE_ROW_BYTES, tile_shape, za_bytes
from inspector.tui.matrix_text import Grid, columns_for, grid, matrix, odd_text, overview
from layouts.x86.xsave import BY_NUMBER

#: In a lower pane the numbers come first.
_HIGH = 20
_ALSO = ("x64", "u64", "i64", "u32", "i32", "f64", "f32", "u16", "i16", "f16", "bf16", "u8", "i8")


class Room(NamedTuple):
    """Columns and lines of a pane."""

    width: int
    height: int


def detail_of(field: Field, table: FieldTable, element: Element, room: Room, note: Note | None = None) -> Text:
    """The detail pane's text for a field, for a pane of that room; ``note`` is what the capture says of it."""
    out = Text()
    out.append(f"{visible(field.path)}\n", "bold")
    out.append(f"{visible(field.spec.title)}\n")
    _state(out, field)
    if note is not None:
        out.append(f"{fill(f'note: {note.text}', room.width)}\n", "yellow").append(
            f"{fill(note.source, room.width)}\n", "dim"
        )
    if field.value is not None and field.data is not None:
        _VALUES.get(field.spec.kind, _number)(out, field, table, element, room)
    _place(out, field)
    return out


def _state(out: Text, field: Field) -> None:
    if field.value is None:
        why = f"{NOT_CAPTURED}: the file does not hold these bytes" if field.text == NOT_CAPTURED else field.text
        out.append(f"{visible(why)}\n", "bold yellow")
    elif field.state == "initial":
        component = BY_NUMBER[max(field.spec.components)]
        out.append(f"initial configuration: XSTATE_BV[{component.number}] ({component.name}) is 0\n", "yellow")
        if field.data is not None and field.shown_value() != field.data:
            out.append(f"stale bytes in memory: {field.data[:32].hex(' ')}{' ...' if len(field.data) > 32 else ''}\n")
    elif field.state:
        parts = [BY_NUMBER[c].name for c in field.spec.components if c >= 0]
        out.append(f"partly initial: some of {', '.join(parts)} is not in use\n", "yellow")
    if field.changed:
        old = b"".join(field.area.original[o : o + n] for o, n in field.spec.pieces)
        out.append(f"~ edited; the file has {old[:16].hex(' ')}{' ...' if len(old) > 16 else ''}\n", "bold")


def _number(out: Text, field: Field, _table: FieldTable, _element: Element, _room: Room) -> None:
    assert field.value is not None
    bits = field.bits
    out.append(f"{field.value:#x}", "bold").append(f"  {field.value}")
    if bits > 1 and field.value >> (bits - 1) and bits <= 64:
        out.append(f"  {field.value - (1 << bits)} signed")
    out.append(f"  {visible(field.text)}\n" if field.text and field.text != str(field.value) else "\n")
    register = field.spec.register
    if register is None:
        if 1 < bits <= 16:
            out.append(f"0b{field.value:0{bits}b}\n", "dim")
        if field.spec.bit and field.spec.bit.values:
            for value, name in field.spec.bit.values.items():
                out.append(f"  {'●' if value == field.value else '○'} {value} = {name}\n")
        return
    for bit in reversed(register.bits):
        value = field.value >> bit.lsb & ((1 << bit.width) - 1)
        where = str(bit.lsb) if bit.width == 1 else f"{bit.lsb + bit.width - 1}:{bit.lsb}"
        shown = bit.values.get(value, "") or (hex(value) if bit.width > 1 else "")
        mark = ("●" if value else "○") if bit.width == 1 else "="
        out.append(f"{where:>5} {mark} ", "" if value else "dim")
        out.append(f"{bit.name:<12} ", "bold" if value else "dim")
        out.append(f"{shown + ' ' if shown else ''}{bit.meaning}\n", "" if value else "dim")
    unknown = field.value & ~register.known_mask
    if unknown:
        out.append(f"reserved bits set: {unknown:#x}\n", "bold red")


def _vector(out: Text, field: Field, table: FieldTable, element: Element, room: Room) -> None:
    data = field.shown_value()
    out.append(f"as {element.name}", "bold").append(", element 0 first (e changes the type)\n", "dim")
    found = grid(data, element, columns_for(data, element, room.width))
    _odd(out, found)
    out.append(matrix(found))
    whole = za_bytes(field, table)
    if whole:
        out.append(f"ZA, {len(whole) // len(data)} rows of {len(data)} bytes\n", "bold")
        out.append(overview(grid(whole, element, max(1, len(data) // element.width_bytes)), room.width))
    for name in _ALSO:
        if name == element.name or BY_NAME[name].width_bytes > len(data):
            continue
        other = BY_NAME[name]
        shown = [values.element_text(v, other) for v in values.elements(data, other)]
        words = " ".join(shown[:16]) + (" ..." if len(shown) > 16 else "")
        out.append(f"{name:>5} ", "bold").append(f"{words}\n", "dim")


def _odd(out: Text, found: Grid) -> None:
    odd = odd_text(found)
    if odd:
        out.append(f"{odd}\n", "bold red")


def _tile(out: Text, field: Field, table: FieldTable, element: Element, room: Room) -> None:
    rows, columns_bytes = tile_shape(field, table)
    shape = f"{rows} rows x {columns_bytes} bytes in XTILECFG" if rows else "not configured in XTILECFG"
    out.append(f"as {element.name}", "bold").append(f", {shape} (e: type, z: zoom)\n", "dim")
    used = (rows, columns_bytes // element.width_bytes) if rows else (None, None)
    found = grid(field.shown_value(), element, TILE_ROW_BYTES // element.width_bytes, *used)
    _odd(out, found)
    picture, numbers = overview(found, room.width), matrix(found, by_row=True)
    if _widest(picture) + 3 + _widest(numbers) <= room.width:
        out.append(_beside(numbers, picture))
    elif room.height < _HIGH:
        out.append(numbers).append(picture)
    else:
        out.append(picture).append(numbers)


def _widest(text: Text) -> int:
    return max((len(line) for line in text.plain.split("\n")), default=0)


def _beside(left: Text, right: Text) -> Text:
    """Two texts side by side."""
    wide, out = _widest(left) + 3, Text()
    for one, other in zip_longest(left.split("\n"), right.split("\n"), fillvalue=Text()):
        out.append(one).append(" " * (wide - len(one)) if other else "").append(other).append("\n")
    return out


def _x87(out: Text, field: Field, _table: FieldTable, _element: Element, _room: Room) -> None:
    data = field.shown_value()
    exponent = int.from_bytes(data[8:10], "little")
    out.append(f"{values.x87_text(data)}\n", "bold")
    out.append(f"sign {exponent >> 15}  exponent {exponent & 0x7FFF:#x}  mantissa {data[7::-1].hex()}\n")
    out.append(f"MMX {data[7::-1].hex()}\n", "dim")


def _bytes(out: Text, field: Field, _table: FieldTable, element: Element, room: Room) -> None:
    assert field.data is not None
    out.append(f"{visible(field.text)}\n")
    data = field.data[:1024]
    if any(data):
        out.append(matrix(grid(data, element, columns_for(data[:64], element, room.width))))


def _predicate(out: Text, field: Field, _table: FieldTable, _element: Element, room: Room) -> None:
    assert field.value is not None
    out.append(f"{visible(field.text)}\n", "bold")
    for name, step in (("b", 1), ("h", 2), ("s", 4), ("d", 8)):
        lanes = "".join("●" if field.value >> bit & 1 else "·" for bit in range(0, field.bits, step))
        out.append(f".{name} lane 0 first\n", "dim")
        for at in range(0, len(lanes), max(8, (room.width - 2) // 8 * 8)):
            out.append(f"{lanes[at : at + max(8, (room.width - 2) // 8 * 8)]}\n")


_VALUES = {
    "predicate": _predicate,
    "vector": _vector,
    "tile": _tile,
    "x87": _x87,
    "bytes": _bytes,
    "gap": _bytes,
    "reserved": _bytes,
}


def _place(out: Text, field: Field) -> None:
    spec = field.spec
    if spec.pieces:
        origin = field.area.origin
        for piece, component in zip(spec.pieces, spec.components, strict=True):
            owner = f" ({BY_NUMBER[component].name})" if component in BY_NUMBER else ""
            out.append(f"area {piece.offset:#x}", "dim")
            if not field.area.attributes.get("synthesized"):
                out.append(f"  file {origin.offset + piece.offset:#x}", "dim")
            bit = f"  bit {spec.bit.lsb}, {spec.bit.width} wide" if spec.bit else ""
            out.append(f"  {piece.size_bytes} bytes{bit}{owner}\n", "dim")
    register = spec.register
    out.append(f"source: {visible(register.source if register else spec.source)}\n", "dim italic")
