"""Captures in their order as a line of points, with how many fields each step between two changes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from inspector.capture.errors import visible

_POINT = "●"
_MARGIN = 2


def slider_text(names: Sequence[str], counts: Sequence[int], step: int, changed: Sequence[int], width: int) -> Text:
    """The steps around the selected one: ``●─3─●━12≠━●``; ``≠`` where the selected field changes too."""
    cells = [_cell(number, count, step, changed) for number, count in enumerate(counts)]
    head = f"step {step + 1} of {len(counts)}: {visible(names[step])} → {visible(names[step + 1])}   "
    room = max(len(cells[step]) + 2, width - len(head) - 2 * _MARGIN)
    first = last = step
    while True:
        wanted = [at for at in (first - 1, last + 1) if 0 <= at < len(cells)]
        fits = [at for at in wanted if _wide(cells, min(first, at), max(last, at)) <= room]
        if not fits:
            break
        first, last = min(first, fits[0]), max(last, fits[0])
    text = Text(head, "bold", no_wrap=True)
    text.append("◂ " if first else "")
    for number in range(first, last + 1):
        text.append(_POINT)
        text.append(cells[number], "bold reverse" if number == step else "dim")
    text.append(_POINT)
    text.append(" ▸" if last < len(cells) - 1 else "")
    return text


def _cell(number: int, count: int, step: int, changed: Sequence[int]) -> str:
    bar = "━" if number == step else "─"
    return f"{bar}{count}{'≠' if number in changed else ''}{bar}"


def _wide(cells: Sequence[str], first: int, last: int) -> int:
    return sum(len(cell) + 1 for cell in cells[first : last + 1]) + 1
