"""The state as text, laid out by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from inspector.capture.errors import visible
from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import NOT_CAPTURED, Field
from inspector.decode.values import short_hex
from inspector.export.select import selected

_PATH_WIDTH = 28


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, as every other broken pipe."""
        raise  # noqa: PLE0704 - rich calls this in its except clause


def write_text(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu], patterns: Sequence[str]) -> int:
    """Write a capture as text; the number of fields written."""
    console = _Console(file=out, highlight=False, soft_wrap=True, emoji=False, markup=False)
    console.print(Text(visible(capture.target), "bold"), Text(f"{capture.format}  {capture.host.about}"))
    written = _areas(console, capture.context, patterns)
    for vcpu in vcpus:
        count = 0
        heading = Text(f"\nvCPU {vcpu.index}  {visible(vcpu.name)}  {vcpu.arch}", "bold")
        pending: Text | None = heading
        for area, fields in selected(vcpu.areas, patterns, structure=False):
            if pending is not None:
                console.print(pending)
                pending = None
            _area(console, area, fields)
            count += len(fields)
        written += count
    return written


def _areas(console: Console, areas: Sequence[Area], patterns: Sequence[str]) -> int:
    count = 0
    for area, fields in selected(areas, patterns, structure=False):
        _area(console, area, fields)
        count += len(fields)
    return count


def _area(console: Console, area: Area, fields: Sequence[Field]) -> None:
    where = f"{visible(area.origin.file)} + {area.origin.offset:#x}"
    line = Text(f"\n{area.title}", "bold cyan")
    line.append(f"  {area.size_bytes} bytes at {where}", "dim")
    table = area.attributes.get("table")
    if table is not None:
        line.append(f"  layout: {table.origin}", "yellow" if table.guessed else "dim")
    console.print(line)
    for field in fields:
        console.print(_line(field))


def _line(field: Field) -> Text:
    line = Text(f"  {field.path:<{_PATH_WIDTH}} ")
    if field.value is None:
        return line.append(field.text or NOT_CAPTURED, "yellow")
    value = short_hex(field.value, field.bits)
    style = "dim" if field.state == "initial" else ""
    return line.append(f"{value:<20}", style).append(f" {field.text}", style)
