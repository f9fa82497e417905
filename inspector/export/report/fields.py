"""Fields as a table, with the bytes of their area beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from inspector.capture.errors import visible
from inspector.capture.model import Area
from inspector.decode.dropped import DroppedBytes
from inspector.decode.fields import Field
from inspector.decode.spec import Span
from inspector.export.report.case import value_of
from inspector.export.words import counted

_COLUMNS = 16
_BYTES_SHOWN = 16
#: Values as long as this stand in the bytes; in the table their beginning does.
_TEXT_SHOWN = 300


def html(text: str) -> str:
    """Text as HTML: whatever a file brings is visible, and no mark-up."""
    return escape(visible(text), quote=True)


def pair(area: Area, fields: Sequence[Field], notes: Mapping[str, str], *, whole: bool) -> str:
    """Fields beside the bytes they lie in; ``whole``: beside all bytes of the area."""
    rows = "\n".join(_row(field, notes.get(field.path, "")) for field in fields)
    head = "<thead><tr><th>field</th><th>value, bytes</th><th>meaning</th></tr></thead>"
    table = f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'
    lines = _lines_of(area, fields, whole=whole)
    dump = "".join(_dump(area, lines))
    bytes_of = f'<pre aria-label="bytes of {html(area.title)}">{dump}</pre>' if dump else ""
    return f'<div class="pair">{table}{bytes_of}</div>'


def heading(area: Area) -> str:
    """What an area is, and where its bytes were."""
    if not area.size_bytes:
        return f"<h3>{html(area.title)}</h3>"
    where = f"{counted(area.size_bytes, 'byte')} at {area.origin.file} + {area.origin.offset:#x}"
    table = area.attributes.get("table")
    layout = f" · layout: {table.origin}" if table is not None else ""
    return f"<h3>{html(area.title)}<small>{html(where + layout)}</small></h3>"


def _row(field: Field, note: str) -> str:
    pieces = field.spec.pieces
    at = f' data-at="{",".join(f"{offset}+{size}" for offset, size in pieces)}"' if pieces else ""
    text = field.text if len(field.text) <= _TEXT_SHOWN else field.text[:_TEXT_SHOWN] + " …"
    left = ' class="left"' if field.value is None else ""
    remark = f'<span class="note">{html(note)}</span>' if note else ""
    return (
        f'<tr{at}><td><code title="{html(field.spec.title)}">{html(field.path)}</code></td>'
        f'<td class="v">{html(value_of(field))}{_bytes(field)}</td>'
        f"<td{left}>{html(text)}{remark}</td></tr>"
    )


def _bytes(field: Field) -> str:
    """The bytes as they lie, in a line of their own; of what is zero there is nothing to see."""
    if not field.data or not any(field.data):
        return ""
    more = " …" if len(field.data) > _BYTES_SHOWN else ""
    return f'<span class="b">{field.data[:_BYTES_SHOWN].hex(" ")}{more}</span>'


def _lines_of(area: Area, fields: Iterable[Field], *, whole: bool) -> list[int]:
    """The numbers of the lines that are printed: of these fields, or all that are not zero."""
    data, dropped = bytes(area.data), DroppedBytes(area)
    if whole:
        return [
            at // _COLUMNS
            for at in range(0, len(data), _COLUMNS)
            if any(data[at : at + _COLUMNS]) or (dropped and dropped.kind([Span(at, _COLUMNS)]))
        ]
    lines = {
        line
        for field in fields
        for offset, size in field.spec.pieces
        for line in range(offset // _COLUMNS, (offset + size - 1) // _COLUMNS + 1)
        if line * _COLUMNS < len(data)
    }
    return sorted(lines)


def _dump(area: Area, lines: Sequence[int]) -> Iterator[str]:
    """Lines of 16 bytes; what is left out between them is a line of its own."""
    before = -1
    dropped = DroppedBytes(area)
    for line in lines:
        if line != before + 1:
            yield '<code class="gap">       …</code>'
        before = line
        at = line * _COLUMNS
        row = bytes(area.data[at : at + _COLUMNS])
        cells = [
            "··" if dropped and dropped.kind([Span(at + nth, 1)]) else f"{byte:02x}" for nth, byte in enumerate(row)
        ]
        text = f"{at:08x}  {' '.join(cells[:8])}{'  ' if len(cells) > 8 else ''}{' '.join(cells[8:])}"
        yield f'<code data-o="{at}" data-n="{len(row)}">{text}</code>'
