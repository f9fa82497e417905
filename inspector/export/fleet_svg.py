"""The lattice of a fleet as a picture: a box a pool, an arrow from each to those that its guests may also go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape

from inspector.capture.errors import visible
from inspector.export.fleet import counted
from inspector.export.layered import Point, layered
from inspector.export.shorten import middle_cut, shared, without
from inspector.fleet.hosts import Fleet, title
from inspector.fleet.lattice import Lattice

_LINE, _GAP, _MARGIN, _PAD = 18, 60, 20, 8
#: Of DejaVu Sans Mono at 12 pixels, in pixels.
_CHARACTER = 7.23
_MOST_CLASSES = 6
#: The brand of an x86 CPU has 48 characters.
_MOST_CHARACTERS = 56


def lattice_svg(fleets: Sequence[tuple[Fleet, Lattice]]) -> str:
    """All architectures below one another, as SVG that needs no other file."""
    parts: list[str] = []
    top = width = float(_MARGIN)
    for fleet, found in fleets:
        picture = _Picture(fleet, found, top)
        parts += picture.lines()
        top, width = picture.bottom + _GAP, max(width, picture.width)
    size = f"{width:.0f}", f"{top:.0f}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" viewBox="0 0 {" ".join(size)}" '
        'font-family="DejaVu Sans Mono, monospace" font-size="12">'
    )
    marker = (
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>'
    )
    return "\n".join([head, marker, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""])


class _Picture:
    """The boxes of one architecture: a pool stands above those that its guests may go to."""

    def __init__(self, fleet: Fleet, found: Lattice, top: float) -> None:
        self._fleet = fleet
        self._found = found
        self._top = top
        self._ends = shared([kept.name for kept in fleet.hosts])
        self._texts = [list(self._text(pool)) for pool in range(len(found.pools))]
        self._sizes = [(max(map(len, text)) * _CHARACTER + 2 * _PAD, (len(text) + 0.5) * _LINE) for text in self._texts]
        self._placed = layered(self._sizes, found.above)
        self._head = list(self._heading())
        self._begin = top + (len(self._head) + 0.5) * _LINE
        self.bottom = self._begin + self._placed.height
        heading = max(map(len, self._head)) * _CHARACTER
        self.width = max(heading, self._placed.width) + 2 * _MARGIN

    def _heading(self) -> Iterator[str]:
        found = self._found
        words = f"{self._fleet.arch}: {counted(len(found.classes), 'class')}, {counted(len(found.pools), 'pool')}"
        yield words + (f"; split first by {found.splits[0].blocker}" if found.splits else "")
        head, tail = map(visible, self._ends)
        if head or tail:
            yield " ".join(
                ["names", *([f"begin with {head}"] if head else []), *(["and"] if head and tail else [])]
                + ([f"end in {tail}"] if tail else [])
            )

    def _text(self, pool: int) -> Iterator[str]:
        """The lines of a box: of each class its CPU, its signature and kernel, and the name of a host."""
        classes = [self._found.classes[one] for one in self._found.pools[pool]]
        yield f"pool {pool + 1}: {counted(sum(one.captures for one in classes), 'host')}"
        for one in classes[:_MOST_CLASSES]:
            kept = self._fleet.hosts[one.first]
            brand, _, rest = title(kept.facts).partition(", Linux ")[0].rpartition(" (")
            what = [rest.rstrip(")")] if brand else []
            what += [f"Linux {kept.facts['kernel']}"] if kept.facts["kernel"] else []
            yield _cut(brand or rest)
            yield _cut("  " + ", ".join([*what, counted(one.captures, "host")]))
            more = f" and {one.captures - 1} more" if one.captures > 1 else ""
            yield "  " + middle_cut(visible(without(kept.name, self._ends)), _MOST_CHARACTERS - len(more)) + more
        if len(classes) > _MOST_CLASSES:
            yield f"and {counted(len(classes) - _MOST_CLASSES, 'class')} more"

    def lines(self) -> Iterator[str]:
        """Elements of SVG."""
        for at, words in enumerate(self._head):
            yield _said(_MARGIN, self._top + _LINE * (at + 1) - 4, words, bold=not at)
        for line in self._placed.arrows.values():
            yield _arrow([(x + _MARGIN, y + self._begin) for x, y in line])
        for pool, (left, top) in self._placed.boxes.items():
            x, y = left + _MARGIN, top + self._begin
            width, height = self._sizes[pool]
            yield (
                f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="4" fill="#eef3fa" '
                'stroke="#456"/>'
            )
            for at, text in enumerate(self._texts[pool]):
                yield _said(x + _PAD, y + _LINE * (at + 1) - 3, text, bold=not at)


def _arrow(line: Sequence[Point]) -> str:
    """A line that leaves a box and arrives at one upright; between two boxes that it passes it is straight."""
    (x, y), *_ = line
    words = [f"M{x:.0f} {y:.0f}"]
    for (x1, y1), (x2, y2) in pairwise(line):
        half = (y1 + y2) / 2
        words.append(f"V{y2:.0f}" if x1 == x2 else f"C{x1:.0f} {half:.0f} {x2:.0f} {half:.0f} {x2:.0f} {y2:.0f}")
    return f'<path d="{" ".join(words)}" fill="none" stroke="#555" marker-end="url(#to)"/>'


def _cut(text: str) -> str:
    """A line that fits into a box: a CPU's name may hold any byte, XML only what can be seen."""
    return middle_cut(visible(text), _MOST_CHARACTERS)


def _said(x: float, y: float, text: str, *, bold: bool) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" xml:space="preserve"{weight}>{escape(visible(text))}</text>'
