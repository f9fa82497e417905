"""What a group of fields is, for who stands on its heading: each of its fields, where it lies, what it means."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.text import Text

from inspector.capture.errors import visible
from inspector.decode.spec import FieldSpec
from inspector.tui.rows import Rows
from inspector.tui.session import Session

_NUMBER, _INDEX = re.compile(r"\d+"), re.compile(r"\[\d+\]")
#: A heading, the area, the file, a last line, and the names of the columns.
_FRAME_LINES, _LEAST_FIELDS = 5, 3
#: In less than the second a title is not wrapped: its words stood below one another.
_LONGEST_NAME, _LEAST_TITLE = 30, 20


#: The group that says of each component of an XSAVE image where it is: ``xstate.avx.offset``.
_COMPONENTS = "xstate"


class _Line(NamedTuple):
    """A field: its name below its group, its offset in the area, its bytes, what it means."""

    name: str
    at: str
    size_bytes: int
    title: str


def heading_text(session: Session, width: int, height: int) -> Text:
    """The group whose heading is selected, for a pane of so many columns and lines."""
    rows, area = session.rows, session.area
    if area is None or rows is None or not rows.visible:
        return Text(session.trouble.get(session.vcpu_number, "nothing was captured here"))
    name = rows.visible[min(session.cursor, len(rows.visible) - 1)].group
    text = Text(f"{visible(rows.heading(name))}\n", "bold")
    text.append(f"{visible(area.title)}, {area.size_bytes} bytes\n")
    text.append(f"{visible(area.origin.file)} + {area.origin.offset:#x}\n", "dim")
    text.append("Space folds and unfolds.\n", "dim")
    paths = re.compile(rf"^{re.escape(area.prefix)}\.({re.escape(name)}\.)?")
    if name in ("header", _COMPONENTS) and _COMPONENTS in rows.groups:
        # At the same place for both: nothing of it is sent from one to the other.
        text.append(_components_text(rows))
    if name != _COMPONENTS:
        lines = list(_lines(rows.groups[name], paths))
        room = height - text.plain.count("\n") - 1
        text.append(_fields_text(lines, max(_LEAST_FIELDS, height - _FRAME_LINES), width, room))
    return text


def _fields_text(lines: Sequence[_Line], most: int, width: int, room: int) -> Text:
    """The fields below the names of columns, no more lines than so many; whole titles where there is ``room``."""
    wide = min(_LONGEST_NAME, max(len(name) for name, *_ in lines)) + 2
    text = Text(f"{'':<{wide}}{'at':<8}{'bytes':<7}\n", "dim")
    shown_lines = lines[: most if len(lines) <= most else most - 1]
    left = wide + 15
    titles = [textwrap.wrap(visible(line.title), max(1, width - left)) or [""] for line in shown_lines]
    if width - left < _LEAST_TITLE or sum(map(len, titles)) > room:
        titles = [[visible(line.title)] for line in shown_lines]
    for (name, at, size_bytes, _), title in zip(shown_lines, titles, strict=True):
        shown = visible(name)
        shown = shown if len(shown) <= wide - 2 else f"{shown[: wide - 3]}…"
        told = f"\n{'':<{left}}".join(title)
        text.append(f"{shown:<{wide}}{at:<8}{size_bytes:<7}{told}\n")
    if len(lines) > most:
        text.append(f"and {len(lines) - most + 1} more\n", "dim")
    return text


def _lines(specs: Sequence[FieldSpec], head: re.Pattern[str]) -> Iterator[_Line]:
    """Each field; of a run that differs in numbers alone, both ends. ``head``: what the heading says of a path."""
    for _, found in groupby(specs, lambda spec: (_NUMBER.sub("", spec.title), _INDEX.sub("", spec.path))):
        run = list(found)
        first, last = run[0], run[-1]
        name = " ... ".join(head.sub("", spec.path) for spec in dict.fromkeys((first, last)))
        at = f"{first.pieces[0].offset:#x}" if first.pieces else "-"
        yield _Line(name, at, sum(spec.size_bytes for spec in run), first.title)


def _components_text(rows: Rows) -> Text:
    """The components of an XSAVE image: in use or not, where, how large."""
    found: dict[str, dict[str, int | None]] = {}
    for spec in rows.groups[_COMPONENTS]:
        name, _, what = spec.path.removeprefix(f"{_COMPONENTS}.").rpartition(".")
        found.setdefault(name, {})[what] = rows.table.decode(spec).value
    text = Text(f"{'component':<13}{'at':<8}bytes   ● in use\n", "dim")
    for name, values in found.items():
        sign = "●" if values.get("in_use") else "·"
        at, size_bytes = values.get("offset"), values.get("size")
        place = f"{'-' if at is None else f'{at:#x}':<8}{'-' if size_bytes is None else size_bytes}"
        text.append(f"{sign} {name:<11}{place}\n", "" if values.get("in_use") else "dim")
    return text
