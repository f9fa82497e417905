"""Elements of vectors and tiles as rich text: rows and columns with their numbers, a heat map, a histogram."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.text import Text

from inspector.decode import values
from inspector.decode.values import Element

#: The smallest normal number, of formats that have denormals.
_LEAST_NORMAL = {"f16": 2.0**-14, "bf16": 2.0**-126, "f32": 2.0**-126, "f64": 2.0**-1022}
_SHADES = "░▒▓█"
_BARS = 8
_BAR_WIDTH = 16
_MOST_LINES = 32
#: A heat map of so few columns has two signs an element.
_FEW_COLUMNS = 32


class Grid(NamedTuple):
    """Elements in rows of as many. ``used_rows`` and ``used_columns`` are those that are configured."""

    cells: Sequence[float]
    element: Element
    columns: int
    used_rows: int
    used_columns: int

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return -(-len(self.cells) // self.columns)

    def is_used(self, at: int) -> bool:
        """An element is within the configured shape."""
        return at // self.columns < self.used_rows and at % self.columns < self.used_columns

    def used(self) -> list[float]:
        """The elements that are configured."""
        return [value for at, value in enumerate(self.cells) if self.is_used(at)]


def grid(data: bytes, element: Element, columns: int, used_rows: int | None = None, used: int | None = None) -> Grid:
    """Bytes as elements in rows; without a shape all of it is used."""
    cells = values.elements(data, element)
    rows = -(-len(cells) // columns)
    return Grid(cells, element, columns, rows if used_rows is None else used_rows, columns if used is None else used)


def mark_of(value: float, element: Element) -> str:
    """``!`` behind a number that is none, or infinite; ``'`` behind a denormal one; else nothing."""
    if not math.isfinite(value):
        return "!"
    return "'" if value and abs(value) < _LEAST_NORMAL.get(element.name, 0) else ""


def columns_for(data: bytes, element: Element, width: int) -> int:
    """How many elements fit in a line: a power of two."""
    cells = values.elements(data, element)
    pad = _pad(cells, element) + 1
    columns = 1
    while columns * 2 * pad + 4 <= width and columns * 2 <= max(1, len(cells)):
        columns *= 2
    return columns


def _pad(cells: Sequence[float], element: Element) -> int:
    return max((len(_text(value, element)) for value in cells), default=1)


def _text(value: float, element: Element) -> str:
    return values.element_text(value, element) + mark_of(value, element)


def matrix(found: Grid, *, by_row: bool = False) -> Text:
    """Elements in rows, with column numbers; rows by their number, or by that of their first element."""
    element, columns = found.element, found.columns
    pad = max(_pad(found.cells, element), len(str(columns - 1)))
    out = Text()
    if columns > 1:
        out.append(f"{'':<4}" + " ".join(f"{column:>{pad}}" for column in range(columns)) + "\n", "dim")
    for row in range(found.rows):
        out.append(f"{row if by_row else row * columns:>3} ", "dim")
        for at in range(row * columns, min((row + 1) * columns, len(found.cells))):
            value = found.cells[at]
            mark = mark_of(value, element)
            style = "bold red" if mark == "!" else "yellow" if mark else "" if found.is_used(at) else "dim"
            out.append(f"{_text(value, element):>{pad}}", style).append(" ")
        out.right_crop(1)
        out.append("\n")
    return out


def odd_text(found: Grid) -> str:
    """How many of the used elements are no numbers, infinite or denormal; nothing where none is."""
    used = found.used()
    counts = {
        "NaN (!)": sum(math.isnan(value) for value in used),
        "infinite (!)": sum(math.isinf(value) for value in used),
        "denormal (')": sum(mark_of(value, found.element) == "'" for value in used),
    }
    return " · ".join(f"{count} {name}" for name, count in counts.items() if count)


def overview(found: Grid, width: int) -> Text:
    """The heat map, and beside it the histogram where there is room, else below."""
    heat, bars = list(_heat(found, width)), list(_histogram(found.used(), found.element))
    wide = max((len(line) for line in heat), default=0)
    if wide + 3 + max((len(line) for line in bars), default=0) <= width:
        lines = [f"{one:<{wide}}   {other}".rstrip() for one, other in zip_longest(heat, bars, fillvalue="")]
    else:
        lines = [*heat, *bars]
    return Text("\n".join(lines) + "\n")


def _heat(found: Grid, width: int) -> Iterator[str]:
    """A sign an element, or for the largest of several: the shade is its size, · is 0, a space is not configured."""
    sizes = [abs(value) for value in found.used() if math.isfinite(value)]
    most = max(sizes, default=0.0)
    across = -(-found.columns // max(1, width - 4))
    down = -(-found.rows // _MOST_LINES)
    twice = 2 if found.columns // across <= _FEW_COLUMNS and 2 * found.columns // across + 4 <= width else 1
    yield f"|value| {_SHADES} up to {values.element_text(most, found.element) if most else 0}, · 0, ! no number"
    for top in range(0, found.rows, down):
        line = f"{top:>3} "
        for left in range(0, found.columns, across):
            places = (
                row * found.columns + column
                for row in range(top, min(top + down, found.rows))
                for column in range(left, min(left + across, found.columns))
            )
            line += _shade([found.cells[at] for at in places if found.is_used(at)], most) * twice
        yield line.rstrip()


def _shade(block: Sequence[float], most: float) -> str:
    if not block:
        return " "
    if not all(math.isfinite(value) for value in block):
        return "!"
    size = max(abs(value) for value in block)
    if not size or not most:
        return "·"
    return _SHADES[min(len(_SHADES) - 1, int(size / most * len(_SHADES)))]


def _histogram(used: Sequence[float], element: Element) -> Iterator[str]:
    """How many elements are in each of as many equal ranges."""
    numbers = [value for value in used if math.isfinite(value)]
    if not numbers:
        return
    least, most = min(numbers), max(numbers)
    yield f"{len(numbers)} elements, {values.element_text(least, element)} to {values.element_text(most, element)}"
    step = most / _BARS - least / _BARS
    if not step:
        return
    counts = [0] * _BARS
    for value in numbers:
        counts[max(0, min(_BARS - 1, int((value - least) / step)))] += 1
    is_whole = not isinstance(numbers[0], float)
    starts = [f"{int(least + step * at)}" if is_whole else f"{least + step * at:.3g}" for at in range(_BARS)]
    pad = max(len(start) for start in starts)
    for start, count in zip(starts, counts, strict=True):
        bar = "█" * -(-count * _BAR_WIDTH // max(counts))
        yield f"from {start:>{pad}} {bar}{' ' if bar else ''}{count}"
