"""Edits of fields: text to bytes, with every reason why not."""

from __future__ import annotations

import struct

from inspector.capture.errors import EditError
from inspector.capture.model import Area
from inspector.capture.overlay import Edit, Overlay
from inspector.decode import values
from inspector.decode.fields import FieldTable, swapped
from inspector.decode.header import xstate_bv
from inspector.decode.spec import FieldSpec
from layouts.x86.xsave import HEADER_AT

_FLOATS = ("f16", "bf16", "f32", "f64")


def set_field(overlay: Overlay, table: FieldTable, spec: FieldSpec, text: str) -> Edit | None:
    """Give a field a new value; None when it has it already.

    A field of an initial component makes that component in use: its other bytes get their
    initial values first, and its XSTATE_BV bit is set. Raises EditError, and changes
    nothing, when the field cannot take the value.
    """
    field = table.decode(spec)
    if spec.fact is not None:
        raise EditError(f"{spec.path} follows from the layout and cannot be edited")
    if table.area.attributes.get("implied"):
        raise EditError(f"{spec.path} is in no note: it follows from which notes there are")
    if field.data is None:
        raise EditError(f"{spec.path} was not captured: there are no bytes to edit")
    new = parse_value(spec, text)
    memory = int.from_bytes(field.data, "little")
    if spec.bit is not None:
        new = memory & ~spec.bit.mask | new << spec.bit.lsb
    writes = _writes(spec, new)
    if field.state:
        writes = _materialize(table, spec) + writes
    return overlay.apply(f"{spec.path} = {text.strip()}", table.area, writes)


def toggle(overlay: Overlay, table: FieldTable, spec: FieldSpec) -> Edit | None:
    """Flip a single-bit field. Raises EditError for any other."""
    if spec.bits != 1:
        raise EditError(f"{spec.path} is {spec.bits} bits wide: type a value instead")
    value = table.decode(spec).value
    return set_field(overlay, table, spec, "0" if value else "1")


def parse_value(spec: FieldSpec, text: str) -> int:
    """A typed value as the unsigned number that the field's bits hold.

    Takes hex (0x), binary (0b), octal (0o) and decimal, negative numbers in two's
    complement, floats for float elements, the name of a value where the field names its
    values. Raises EditError with what it takes.
    """
    word = text.strip().replace("_", "")
    if spec.kind in _FLOATS:
        return _parse_float(spec, word)
    if spec.bit is not None:
        for value, name in spec.bit.values.items():
            if name.lower() == text.strip().lower():
                return value
    try:
        value = int(word, 0)
    except ValueError:
        raise EditError(f"{spec.path}: {text.strip()!r} is no number (0x1f, 31, -1, 0b11111)") from None
    limit = 1 << spec.bits
    if not -(limit >> 1) <= value < limit:
        raise EditError(f"{spec.path}: {text.strip()} needs {value.bit_length()} bits, the field has {spec.bits}")
    return value % limit


def _parse_float(spec: FieldSpec, word: str) -> int:
    if word.lower().startswith("0x"):
        return parse_value(spec._replace(kind="uint"), word)
    element = values.BY_NAME[spec.kind]
    try:
        number = float(word)
        if element.code == "bf16":
            return int.from_bytes(struct.pack("<f", number), "little") >> 16
        return int.from_bytes(struct.pack(f"<{element.code}", number), "little")
    except (ValueError, OverflowError) as error:
        raise EditError(f"{spec.path}: {word!r} is no {spec.kind} number ({error})") from None


def _writes(spec: FieldSpec, value: int) -> list[tuple[int, bytes]]:
    """A value cut into the pieces of its field."""
    raw = value.to_bytes(spec.size_bytes, "little")
    if spec.swap > 1:
        raw = swapped(raw, spec.swap)
    writes = []
    at = 0
    for offset, size in spec.pieces:
        writes.append((offset, raw[at : at + size]))
        at += size
    return writes


def _materialize(table: FieldTable, spec: FieldSpec) -> list[tuple[int, bytes]]:
    """Writes that bring the initial components of a field into use with their initial values."""
    area: Area = table.area
    bv = xstate_bv(area.data)
    wanted = {component for component in spec.components if component >= 0 and not bv >> component & 1}
    writes = [
        (other.pieces[0].offset, other.initial.to_bytes(other.size_bytes, "little"))
        for other in table.specs
        if len(other.pieces) == 1 and other.components[0] in wanted and other.end <= len(area.data)
    ]
    for component in wanted:
        bv |= 1 << component
    return [*writes, (HEADER_AT["xstate_bv"].offset, bv.to_bytes(8, "little"))]
