"""One-way arrows between pools that stand below one another, drawn beside their lines. No toolkit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: More arrows beside one another are not drawn: the words of each pool say where its guests go.
_MOST_LANES = 8


class Arrow(NamedTuple):
    """From the line of a pool to the lines of those that its guests may also go to."""

    source: int
    targets: tuple[int, ...]

    @property
    def first(self) -> int:
        """The highest of its lines."""
        return min(self.source, *self.targets)

    @property
    def last(self) -> int:
        """The lowest of its lines."""
        return max(self.source, *self.targets)


def gutter(arrows: Sequence[Arrow]) -> Mapping[int, str]:
    """What stands before each line that an arrow begins at, ends at or passes; nothing where there are too many."""
    lanes = _lanes(arrows)
    if not arrows or max(lanes) >= _MOST_LANES:
        return {}
    width = max(lanes) + 1
    cells: dict[int, list[str]] = {}
    for arrow, lane in zip(arrows, lanes, strict=True):
        for line in range(arrow.first, arrow.last + 1):
            drawn = cells.setdefault(line, [" "] * (width + 1))
            if line != arrow.source and line not in arrow.targets:
                drawn[lane] = "┼" if drawn[lane] == "─" else "│"
                continue
            drawn[lane] = "┌" if line == arrow.first else "└" if line == arrow.last else "├"
            for at in range(lane + 1, width):
                drawn[at] = "─" if drawn[at] in " ─" else "┼" if drawn[at] in "│┼" else drawn[at]
            drawn[width] = "►" if line in arrow.targets else "─" if drawn[width] == " " else drawn[width]
    return {line: "".join(drawn) for line, drawn in cells.items()}


def _lanes(arrows: Sequence[Arrow]) -> list[int]:
    """The column of each arrow, the rightmost first, so that no two touch."""
    ends: list[list[tuple[int, int]]] = []
    found = [0] * len(arrows)
    for at in sorted(range(len(arrows)), key=lambda one: arrows[one].last - arrows[one].first):
        span = arrows[at].first, arrows[at].last
        lane = next((n for n, taken in enumerate(ends) if all(b < span[0] or span[1] < a for a, b in taken)), len(ends))
        if lane == len(ends):
            ends.append([])
        ends[lane].append(span)
        found[at] = lane
    last = max(found, default=0)
    return [last - lane for lane in found]
