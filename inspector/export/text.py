"""The state as text: lines of parts, each with a style that a terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import NOT_CAPTURED, Field
from inspector.decode.notes import Note, notes_of
from inspector.decode.values import short_hex
from inspector.export.lines import Line, Print, printer_for
from inspector.export.select import selected
from inspector.export.words import styled
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

_PATH_WIDTH = 28


def write_text(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu], patterns: Sequence[str]) -> int:
    """Write a capture as text; the number of fields written."""
    put = printer_for(out)
    words = [f"  {word}" for word in (capture.format, capture.host.about) if word]
    put([styled((capture.target, "bold"), *words)])
    written = 0
    for area, fields in selected(capture.context, patterns, structure=False):
        written += _area(put, area, fields, {})
    for vcpu in vcpus:
        notes = notes_of(capture, vcpu)
        heading = [(), styled((f"vCPU {vcpu.index}  {vcpu.name}  {vcpu.arch}", "bold"))]
        for area, fields in selected(vcpu.areas, patterns, structure=False):
            put(heading)
            heading = []
            written += _area(put, area, fields, notes)
        vcpu.release()
    return written


def _area(put: Print, area: Area, fields: Sequence[Field], notes: Mapping[str, Note]) -> int:
    where = f"  {area.size_bytes} bytes at {area.origin.file} + {area.origin.offset:#x}"
    line = [(area.title, "bold cyan"), (where, "dim")]
    table = area.attributes.get("table")
    if table is not None:
        line.append((f"  layout: {table.origin}", "yellow" if table.guessed else "dim"))
    put([(), styled(*line)])
    put([line for field in fields for line in _lines(field, notes.get(field.path))])
    return len(fields)


def _lines(field: Field, note: Note | None) -> list[Line]:
    """A field, and below it what the capture as a whole says about it."""
    return [_field(field)] + ([styled((f"    note: {note.text}", "yellow"))] if note is not None else [])


def _field(field: Field) -> Line:
    path = f"  {field.path:<{_PATH_WIDTH}} "
    if field.value is None:
        return styled(path, (field.text or NOT_CAPTURED, "yellow"))
    value = short_hex(field.value, field.bits)
    style = "dim" if field.state == "initial" else ""
    return styled(path, (f"{value:<20}", style), (f" {field.text}", style))
