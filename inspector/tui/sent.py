"""What is sent to the terminal: of all that Textual paints, the cells that are others than those on it.

Textual sends whole widgets for a layout, a title or a focus, changed or not. Over a slow line that is what people feel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

#: So many cells that are the same, in one look, cost no more than moving over them: ``CSI line ; column H``.
_MOVE_CELLS = 7


class Look(NamedTuple):
    """Parameters of SGR (ECMA-48, 8.3.117): of a letter, and of a blank, which has no colour of its own."""

    letter: str
    blank: str


#: What one cell shows, as plain pairs: a screen has thousands. A blank looks as its ground does.
Cell = tuple[str, Look]


def _goes_on(cell: Cell, look: Look) -> bool:
    """Whether a cell can be written behind one of a look, and nothing said of its own."""
    letter, own = cell
    return own is look or (own.blank == look.blank if letter == " " else own.letter == look.letter)


class Shown:
    """What a terminal shows, as far as this program has painted it.

    Of a sign that is not one cell wide, and of a link, no more is known than that it has to be sent: None.
    """

    def __init__(self) -> None:
        self._lines: dict[int, list[Cell | None]] = {}

    def forget(self) -> None:
        """Somebody else has painted: every cell is to be sent again."""
        self._lines.clear()

    def changes(self, update: CompositorUpdate) -> CompositorUpdate:
        """The same update in as few bytes as it needs. It counts as painted when it is rendered."""
        return _Changes(self, update)

    def put(self, x: int, y: int, cells: Sequence[Cell | None]) -> Sequence[Cell | None]:
        """Put cells in their place; what was there."""
        line = self._lines.setdefault(y, [])
        line.extend([None] * (x + len(cells) - len(line)))
        before, line[x : x + len(cells)] = line[x : x + len(cells)], cells
        return before


class _Changes(CompositorUpdate):
    """The cells of an update that are others than those of a terminal."""

    def __init__(self, shown: Shown, update: CompositorUpdate) -> None:
        self.shown, self.update = shown, update

    def render_segments(self, console: Console) -> str:
        """See CompositorUpdate."""
        pieces = _pieces(self.update)
        if pieces is None:
            self.shown.forget()
            return self.update.render_segments(console)
        system = console._color_system or ColorSystem.TRUECOLOR
        pen = _Pen()
        for x, y, strip in pieces:
            cells = _cells(strip, system)
            if cells is None:
                self.shown.put(x, y, [None] * strip.cell_length)
                pen.whole(x, y, strip.render(console))
                continue
            for begin, end in _runs(self.shown.put(x, y, cells), cells):
                pen.write(x + begin, y, cells[begin:end])
        return pen.text()


def _pieces(update: CompositorUpdate) -> Iterable[tuple[int, int, Strip]] | None:
    """Column, line and strip of all that an update paints; None of one that is not for a place on the screen."""
    if isinstance(update, LayoutUpdate):
        return _pieces_of_lines(update)
    return _pieces_of_spans(update) if isinstance(update, ChopsUpdate) else None


def _pieces_of_lines(update: LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, strips in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in strips:
            yield x, y, strip
            x += strip.cell_length


def _pieces_of_spans(update: ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, first, last in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < last and end > first:
                begin = max(x, first)
                yield begin, y, strip.crop(begin - x, min(end, last) - x)


def _cells(strip: Strip, system: ColorSystem) -> list[Cell] | None:
    """The cells of a strip; None where a sign is not one cell wide, or leads elsewhere."""
    if not all(map(_is_one_cell, set(strip.text))):
        return None
    cells: list[Cell] = []
    for text, style, _ in strip:
        if style is not None and style.link:
            return None
        look, ground = _looks(style or Style.null(), system)
        cells += [(letter, ground if letter == " " else look) for letter in text]
    return cells


@cache
def _is_one_cell(letter: str) -> bool:
    return cell_len(letter) == 1


@cache
def _looks(style: Style, system: ColorSystem) -> tuple[Look, Look]:
    """How a style looks, and a blank in it: its background alone, but with lines and reversed as letters are."""
    letter = Strip.render_ansi(style, system)
    is_drawn = style.reverse or style.underline or style.underline2 or style.strike or style.overline or style.frame
    blank = letter if is_drawn else Strip.render_ansi(Style(bgcolor=style.bgcolor), system)
    return Look(letter, blank), Look(blank, blank)


def _runs(before: Sequence[Cell | None], now: Sequence[Cell]) -> Iterator[tuple[int, int]]:
    """From which cell to before which one there are others, with what is cheaper sent than moved over."""
    if before == now:
        return
    if not any(before):
        yield 0, len(now)
        return
    begin = end = -1
    for at, cell in enumerate(now):
        if cell == before[at]:
            continue
        if end < 0:
            begin = at
        elif at - end > _MOVE_CELLS or not all(_goes_on(one, now[end - 1][1]) for one in now[end:at]):
            yield begin, end
            begin = at
        end = at + 1
    yield begin, end


class _Pen:
    """Writes cells: a look is said where it is another one, a place where the cursor is not there."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._look = Look("", "")
        self._place = (-1, -1)

    def write(self, x: int, y: int, cells: Sequence[Cell]) -> None:
        """Cells from a place on."""
        self._move(x, y)
        now, parts = self._look, self._parts
        for cell in cells:
            letter, look = cell
            if look is not now and not _goes_on(cell, now):
                now = look
                parts.append(f"\x1b[0;{look.letter}m" if look.letter else "\x1b[m")
            parts.append(letter)
        self._look = now
        self._place = (x + len(cells), y)

    def whole(self, x: int, y: int, text: str) -> None:
        """A piece as Textual renders it."""
        self._plain()
        self._move(x, y)
        self._parts.append(text)
        self._place = (-1, -1)

    def text(self) -> str:
        """All that was written; behind it letters are plain again."""
        self._plain()
        return "".join(self._parts)

    def _move(self, x: int, y: int) -> None:
        if self._place != (x, y):
            self._parts.append(f"\x1b[{y + 1};{x + 1}H")

    def _plain(self) -> None:
        if self._look.letter:
            self._parts.append("\x1b[m")
        self._look = Look("", "")
