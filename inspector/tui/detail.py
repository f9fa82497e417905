"""Everything about one field, as rich text: value in every form, bits, place, source."""

from __future__ import annotations

from textwrap import fill

from rich.text import Text

from inspector.capture.errors import visible
from inspector.decode import values
from inspector.decode.fields import NOT_CAPTURED, Field, FieldTable
from inspector.decode.notes import Note
from inspector.decode.values import BY_NAME, Element
from layouts.x86.xsave import BY_NUMBER

_TILE_ROW_BYTES = 64
_ALSO = ("x64", "u64", "i64", "u32", "i32", "f64", "f32", "u16", "i16", "f16", "bf16", "u8", "i8")


def detail_of(field: Field, table: FieldTable, element: Element, width: int, note: Note | None = None) -> Text:
    """The detail pane's text for a field, for a pane of ``width`` columns; ``note`` is what the capture says of it."""
    out = Text()
    out.append(f"{visible(field.path)}\n", "bold")
    out.append(f"{visible(field.spec.title)}\n")
    _state(out, field)
    if note is not None:
        out.append(f"{fill(f'note: {note.text}', width)}\n", "yellow").append(f"{fill(note.source, width)}\n", "dim")
    if field.value is not None and field.data is not None:
        _VALUES.get(field.spec.kind, _number)(out, field, table, element, width)
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


def _number(out: Text, field: Field, _table: FieldTable, _element: Element, _width: int) -> None:
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


def _vector(out: Text, field: Field, _table: FieldTable, element: Element, width: int) -> None:
    data = field.shown_value()
    out.append(f"as {element.name}", "bold").append(", element 0 first (e changes the type)\n", "dim")
    out.append(matrix(data, element, _columns(data, element, width)))
    for name in _ALSO:
        if name == element.name or BY_NAME[name].width_bytes > len(data):
            continue
        other = BY_NAME[name]
        shown = [values.element_text(v, other) for v in values.elements(data, other)]
        words = " ".join(shown[:16]) + (" ..." if len(shown) > 16 else "")
        out.append(f"{name:>5} ", "bold").append(f"{words}\n", "dim")


def _tile(out: Text, field: Field, table: FieldTable, element: Element, _width: int) -> None:
    data = field.shown_value()
    rows, columns_bytes = tile_shape(field, table)
    shape = f"{rows} rows x {columns_bytes} bytes in XTILECFG" if rows else "not configured in XTILECFG"
    out.append(f"as {element.name}", "bold").append(f", {shape} (e: type, z: zoom)\n", "dim")
    per_row = _TILE_ROW_BYTES // element.width_bytes
    used = columns_bytes // element.width_bytes
    cells = [values.element_text(v, element) for v in values.elements(data, element)]
    pad = max(len(cell) for cell in cells)
    for row in range(len(data) // _TILE_ROW_BYTES):
        line = cells[row * per_row : (row + 1) * per_row]
        out.append(f"{row:>2} ", "dim")
        for column, cell in enumerate(line):
            out.append(f"{cell:>{pad}} ", "" if row < rows and column < used else "dim")
        out.append("\n")


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


def _columns(data: bytes, element: Element, width: int) -> int:
    """How many elements fit in a line: a power of two."""
    cells = [len(values.element_text(v, element)) for v in values.elements(data, element)]
    pad = max(cells, default=1) + 1
    columns = 1
    while columns * 2 * pad + 4 <= width and columns * 2 <= max(1, len(cells)):
        columns *= 2
    return columns


def matrix(data: bytes, element: Element, columns: int) -> Text:
    """Elements in lines of ``columns``, each line with the number of its first element."""
    cells = [values.element_text(v, element) for v in values.elements(data, element)]
    pad = max((len(cell) for cell in cells), default=1)
    out = Text()
    for at in range(0, len(cells), columns):
        out.append(f"{at:>3} ", "dim")
        out.append(" ".join(f"{cell:>{pad}}" for cell in cells[at : at + columns]) + "\n")
    return out


def _x87(out: Text, field: Field, _table: FieldTable, _element: Element, _width: int) -> None:
    data = field.shown_value()
    exponent = int.from_bytes(data[8:10], "little")
    out.append(f"{values.x87_text(data)}\n", "bold")
    out.append(f"sign {exponent >> 15}  exponent {exponent & 0x7FFF:#x}  mantissa {data[7::-1].hex()}\n")
    out.append(f"MMX {data[7::-1].hex()}\n", "dim")


def _bytes(out: Text, field: Field, _table: FieldTable, element: Element, width: int) -> None:
    assert field.data is not None
    out.append(f"{visible(field.text)}\n")
    data = field.data[:1024]
    if any(data):
        out.append(matrix(data, element, _columns(data[:64], element, width)))


def _predicate(out: Text, field: Field, _table: FieldTable, _element: Element, width: int) -> None:
    assert field.value is not None
    out.append(f"{visible(field.text)}\n", "bold")
    for name, step in (("b", 1), ("h", 2), ("s", 4), ("d", 8)):
        lanes = "".join("●" if field.value >> bit & 1 else "·" for bit in range(0, field.bits, step))
        out.append(f".{name} lane 0 first\n", "dim")
        for at in range(0, len(lanes), max(8, (width - 2) // 8 * 8)):
            out.append(f"{lanes[at : at + max(8, (width - 2) // 8 * 8)]}\n")


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
