"""A buffer drawn to scale: components where they lie, by what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.machine.x86.world.buffer import BufferMap, Span, SpanState
from inspector.tui.drawn import Drawn, Piece

_FILL: dict[SpanState, tuple[str, str]] = {
    "in use": ("█", "good"),
    "initial": ("▒", "good"),
    "unused": ("░", "quiet"),
    "no room": ("╌", "bad"),
}
LEGEND = "█ in use  ▒ in use, initial  ░ room, not in use  ╌ no room"
_LABEL_WIDTH = 8


def map_heading(found: BufferMap) -> Drawn:
    """Whose buffer it is, its size, and what the signs mean."""
    missing = sum(span.size_bytes for span in found.spans if span.state == "no room")
    size = f"{found.size_bytes} bytes" + (f", {missing} more would be needed" if missing else "")
    form = "compacted" if found.is_compacted else "standard"
    return [Piece(f"{found.owner}, {form}: {size}", "heading"), Piece(f"   {LEGEND}", "quiet")]


def map_lines(before: BufferMap, now: BufferMap, selected: int, width: int) -> list[Drawn]:
    """The buffer, before the last event too if that changed it; below it names of components. Always three lines."""
    columns = width - _LABEL_WIDTH
    widths = _widths(now.spans if _end(now) >= _end(before) else before.spans, columns)
    lines = []
    if _seen(before) != _seen(now):
        lines.append([Piece(f"{'before':<{_LABEL_WIDTH}}"), *_bar(before.spans, widths)])
        lines.append([Piece(f"{'now':<{_LABEL_WIDTH}}"), *_bar(now.spans, widths)])
    else:
        lines.append([Piece(" " * _LABEL_WIDTH), *_bar(now.spans, widths)])
    lines.append([Piece(" " * _LABEL_WIDTH + _names(now.spans, widths, selected, columns))])
    return [*lines, [Piece("")]][:3]


def _seen(found: BufferMap) -> list[tuple[int, SpanState]]:
    return [(span.component, span.state) for span in found.spans]


def _end(found: BufferMap) -> int:
    return max((span.offset + span.size_bytes for span in found.spans), default=0)


def _widths(spans: Sequence[Span], columns: int) -> dict[int, int]:
    """Columns of each component: to scale, at least one; what that takes the largest gives."""
    total = sum(span.size_bytes for span in spans) or 1
    found = {span.component: max(1, span.size_bytes * columns // total) for span in spans}
    if spans:
        largest = max(spans, key=lambda span: span.size_bytes).component
        found[largest] = max(1, found[largest] + columns - sum(found.values()))
    return found


def _bar(spans: Sequence[Span], widths: dict[int, int]) -> list[Piece]:
    return [Piece(_FILL[span.state][0] * widths.get(span.component, 1), _FILL[span.state][1]) for span in spans]


def _names(spans: Sequence[Span], widths: dict[int, int], selected: int, columns: int) -> str:
    """The selected component's name where it begins, the others' where there is room below them."""
    line, at, starts = [" "] * columns, 0, []
    for span in spans:
        starts.append((span.component != selected, at, span.name if span.component != selected else f"↑{span.name}"))
        at += widths.get(span.component, 1)
    for _, start, name in sorted(starts):
        start = min(start, columns - len(name))
        if start >= 0 and all(cell == " " for cell in line[max(0, start - 1) : start + len(name) + 1]):
            line[start : start + len(name)] = name
    return "".join(line)
