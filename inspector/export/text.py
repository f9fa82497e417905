"""The state as text, laid out by rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import NOT_CAPTURED, Field
from inspector.decode.notes import Note, notes_of
from inspector.decode.values import short_hex
from inspector.export.select import selected
from inspector.export.words import styled

_PATH_WIDTH = 28
_LINES_A_PRINT = 256


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, as every other broken pipe."""
        raise  # noqa: PLE0704 - rich calls this in its except clause


def write_text(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu], patterns: Sequence[str]) -> int:
    """Write a capture as text; the number of fields written."""
    console = _Console(file=out, highlight=False, soft_wrap=True, emoji=False, markup=False)
    words = [f"  {word}" for word in (capture.format, capture.host.about) if word]
    console.print(_line((capture.target, "bold"), *words))
    written = 0
    for area, fields in selected(capture.context, patterns, structure=False):
        written += _area(console, area, fields, {})
    for vcpu in vcpus:
        notes = notes_of(capture, vcpu)
        heading: Text | None = _line((f"vCPU {vcpu.index}  {vcpu.name}  {vcpu.arch}", "bold"))
        for area, fields in selected(vcpu.areas, patterns, structure=False):
            if heading is not None:
                console.print()
                console.print(heading)
                heading = None
            written += _area(console, area, fields, notes)
    return written


def _area(console: Console, area: Area, fields: Sequence[Field], notes: Mapping[str, Note]) -> int:
    where = f"  {area.size_bytes} bytes at {area.origin.file} + {area.origin.offset:#x}"
    line = [(area.title, "bold cyan"), (where, "dim")]
    table = area.attributes.get("table")
    if table is not None:
        line.append((f"  layout: {table.origin}", "yellow" if table.guessed else "dim"))
    console.print()
    console.print(_line(*line))
    # Many lines a print: each print costs as much as ten lines.
    lines = [line for field in fields for line in _lines(field, notes.get(field.path))]
    for first in range(0, len(lines), _LINES_A_PRINT):
        console.print(Text("\n").join(lines[first : first + _LINES_A_PRINT]))
    return len(fields)


def _lines(field: Field, note: Note | None) -> list[Text]:
    """A field, and below it what the capture as a whole says about it."""
    return [_field(field)] + ([_line((f"    note: {note.text}", "yellow"))] if note is not None else [])


def _field(field: Field) -> Text:
    path = f"  {field.path:<{_PATH_WIDTH}} "
    if field.value is None:
        return _line(path, (field.text or NOT_CAPTURED, "yellow"))
    value = short_hex(field.value, field.bits)
    style = "dim" if field.state == "initial" else ""
    return _line(path, (f"{value:<20}", style), (f" {field.text}", style))


def _line(*parts: str | tuple[str, str]) -> Text:
    """A line of parts, each with a style: whatever a file brings is visible, and stays in the line."""
    return Text.assemble(*styled(*parts))
