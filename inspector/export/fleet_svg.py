"""The lattice of a fleet as a picture: a box a pool, an arrow from each to those that its guests may also go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from inspector.capture.errors import visible
from inspector.export.fleet import counted
from inspector.fleet.hosts import Fleet, title
from inspector.fleet.lattice import Lattice

_WIDTH, _LINE, _GAP_X, _GAP_Y, _MARGIN = 340, 18, 30, 60, 20
_MOST_LINES = 6
_MOST_CHARACTERS = 44


def lattice_svg(fleets: Sequence[tuple[Fleet, Lattice]]) -> str:
    """All architectures below one another, as SVG that needs no other file."""
    parts: list[str] = []
    top = _MARGIN
    width = 0
    for fleet, found in fleets:
        picture = _Picture(fleet, found, top)
        parts += picture.lines()
        top, width = picture.bottom + _GAP_Y, max(width, picture.width)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}" '
        'font-family="DejaVu Sans Mono, monospace" font-size="12">'
    )
    marker = (
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>'
    )
    return "\n".join([head, marker, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""])


class _Picture:
    """The boxes of one architecture: a pool stands above those that its guests may go to."""

    def __init__(self, fleet: Fleet, found: Lattice, top: int) -> None:
        self._fleet = fleet
        self._found = found
        self._top = top
        levels = _levels(found.above)
        rows: dict[int, list[int]] = {}
        for pool, level in enumerate(levels):
            rows.setdefault(level, []).append(pool)
        self._boxes: dict[int, tuple[int, int, int]] = {}
        y = top + 2 * _LINE
        for level in sorted(rows):
            heights = [(len(self._text(pool)) + 1) * _LINE for pool in rows[level]]
            for at, pool in enumerate(rows[level]):
                self._boxes[pool] = (_MARGIN + at * (_WIDTH + _GAP_X), y, heights[at])
            y += max(heights) + _GAP_Y
        self.bottom = y - _GAP_Y
        self.width = max((x + _WIDTH for x, _, _ in self._boxes.values()), default=_WIDTH) + _MARGIN

    def _text(self, pool: int) -> list[str]:
        classes = self._found.pools[pool]
        count = sum(self._found.classes[one].captures for one in classes)
        lines = [f"pool {pool + 1}: {counted(count, 'host')}"]
        for one in classes[:_MOST_LINES]:
            kept = self._fleet.hosts[self._found.classes[one].first]
            lines.append(_cut(title(kept.facts).partition(", Linux ")[0]))
            kernel = f"Linux {kept.facts['kernel']}, " if kept.facts["kernel"] else ""
            lines.append(_cut(f"  {kernel}{counted(self._found.classes[one].captures, 'host')}: {kept.name}"))
        if len(classes) > _MOST_LINES:
            lines.append(f"and {len(classes) - _MOST_LINES} more classes")
        return lines

    def lines(self) -> Iterator[str]:
        """Elements of SVG."""
        found = self._found
        words = f"{self._fleet.arch}: {len(found.classes)} classes, {len(found.pools)} pools"
        if found.splits:
            words += f"; split first by {found.splits[0].blocker}"
        yield _said(_MARGIN, self._top + _LINE, words, bold=True)
        for pool, above in enumerate(found.above):
            yield from (self._arrow(pool, other) for other in above)
        for pool, (x, y, height) in self._boxes.items():
            yield f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{height}" rx="4" fill="#eef3fa" stroke="#456"/>'
            for at, text in enumerate(self._text(pool)):
                yield _said(x + 8, y + _LINE * (at + 1) - 3, text, bold=not at)

    def _arrow(self, pool: int, other: int) -> str:
        x1, y1, height = self._boxes[pool]
        x2, y2, _ = self._boxes[other]
        half = _WIDTH // 2
        return (
            f'<line x1="{x1 + half}" y1="{y1 + height}" x2="{x2 + half}" y2="{y2}" stroke="#555" '
            'marker-end="url(#to)"/>'
        )


def _cut(text: str) -> str:
    """A line that fits into a box: a CPU's name may hold any byte, XML only what can be seen."""
    text = visible(text)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _said(x: int, y: int, text: str, *, bold: bool) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}"{weight}>{escape(visible(text))}</text>'


def _levels(above: Sequence[Sequence[int]]) -> list[int]:
    """How deep a pool stands: one below the deepest of those whose guests may come. What goes round ends somewhere."""
    levels = [0] * len(above)
    for _ in above:
        changed = False
        for pool, others in enumerate(above):
            for other in others:
                if levels[other] <= levels[pool] < len(above):
                    levels[other], changed = levels[pool] + 1, True
        if not changed:
            break
    return levels
