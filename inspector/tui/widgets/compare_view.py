"""The table of the Compare screen: one line a field, one column a side."""

from __future__ import annotations

from rich.segment import Segment
from rich.text import Text

from inspector.capture.errors import visible
from inspector.tui.comparison import ALWAYS, Comparison, Line
from inspector.tui.widgets.line_view import LineView, fitted

#: Columns of the paths: at least, and at most a part of the width.
_PATH_LEAST, _PATH_PART = 18, 3
#: The narrowest cell; and the widest, which is a 512-bit register in hex.
_CELL_WIDTH, _WHOLE_WIDTH = 22, 134
#: Before a cell: whether this is the odd one out.
_ODD, _EVEN = "≠ ", "  "
#: At the right edge: how many columns are further to the right.
_MORE_WIDTH = 6


class CompareView(LineView):
    """``≠`` stands before the cell of a side that is not like the others."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison
        self.first = 0
        # The first field: line 0 is a heading.
        self.set_reactive(LineView.cursor, 1)
        #: The side whose field Enter goes to.
        self.side = 0

    def line_count(self) -> int:
        """See LineView: where there is nothing to show, a line says why."""
        return max(1, len(self.comparison.lines))

    def path_width(self, width: int) -> int:
        """As wide as the paths are, but no more than a part of the width."""
        longest = max((len(line.path) for line in self.comparison.lines), default=0)
        return max(_PATH_LEAST, min(longest + 4, width // _PATH_PART))

    def cell_width(self, width: int) -> int:
        """As wide as the terminal gives."""
        sides, room = len(self.comparison.shown_sides()), width - self.path_width(width)
        if room // max(1, sides) < _CELL_WIDTH:
            room -= _MORE_WIDTH
            return max(1, room // max(1, room // _CELL_WIDTH))
        return min(_WHOLE_WIDTH, room // max(1, sides))

    def columns(self, width: int) -> range:
        """The sides that fit."""
        sides = self.comparison.shown_sides()
        fit = max(1, (width - self.path_width(width)) // self.cell_width(width))
        if self.comparison.step is not None:
            return sides
        first = max(0, min(self.first, len(sides) - fit))
        return range(first, min(len(sides), first + fit))

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        comparison = self.comparison
        if not comparison.lines:
            return [Segment(f"  {comparison.emptiness()}", self.style_of("heading"))]
        section, path = comparison.lines[line]
        quiet = self.style_of("quiet") if section == ALWAYS else None
        if not path:
            return [Segment(fitted(comparison.heading(section), width), quiet or self.style_of("heading"))]
        wide, paths = self.cell_width(width), self.path_width(width)
        segments = [Segment(f"  {fitted(path, paths - 3):<{paths - 2}}", quiet)]
        odd = comparison.odd(path)
        for side in self.columns(width):
            field = comparison.field(path, side)
            style = self.style_of("missing") if field is not None and field.value is None else None
            text = comparison.cell_text(path, side, wide - 3)
            style = quiet or (self.style_of("changed") if side in odd else style)
            segments.append(Segment(f"{_ODD if side in odd else _EVEN}{fitted(text, wide - 3):<{wide - 2}}", style))
        return segments

    def move_column(self, by: int) -> None:
        """Another side; what is not on screen comes on."""
        count, width = len(self.comparison.sides), self.scrollable_content_region.width
        self.side = max(0, min(self.side + by, count - 1))
        columns = self.columns(width)
        if self.side < columns.start:
            self.first = self.side
        elif self.side >= columns.stop:
            self.first = self.side - len(columns) + 1
        self.changed()
        self.post_message(self.Moved(self))

    def click_column(self, x: int) -> bool:
        """See LineView: the side whose cell it is."""
        width = self.scrollable_content_region.width
        columns = self.columns(width)
        at = (x - self.path_width(width)) // self.cell_width(width)
        if self.comparison.step is not None or not 0 <= at < len(columns) or columns[at] == self.side:
            return False
        self.move_column(columns[at] - self.side)
        return True

    def names(self) -> Text:
        """The heading: the sides that are shown, the selected one marked; how many are further left and right."""
        # Without the scrollbar, as the lines below.
        width = self.scrollable_content_region.width or self.app.size.width
        wide, paths, columns = self.cell_width(width), self.path_width(width), self.columns(width)
        left = f"◂ {columns.start} more" if columns.start and self.comparison.step is None else ""
        text = Text(f"{left:<{paths}}", no_wrap=True)
        for side in columns:
            name = visible(self.comparison.sides[side].name)
            name += " (ref)" if side == self.comparison.reference and self.comparison.step is None else ""
            name = fitted(name, wide - 3)
            text.append(_EVEN)
            text.append(name, "reverse" if side == self.side else "")
            text.append(" " * (wide - 2 - len(name)))
        more = len(self.comparison.sides) - columns.stop
        if more and self.comparison.step is None:
            text.truncate(width - _MORE_WIDTH, pad=True)
            text.append(f"{f'{more} ▸':>{_MORE_WIDTH}}")
        return text

    def line(self) -> Line:
        """The line under the cursor; an empty one where nothing is shown."""
        lines = self.comparison.lines
        return lines[min(self.cursor, len(lines) - 1)] if lines else Line("")

    def go_to(self, line: Line) -> None:
        """To a line, else to the first of its section, else to the first field, without telling anybody."""
        lines, heading = self.comparison.lines, Line(line.section)
        if line in lines:
            self.place(lines.index(line))
        elif heading in lines:
            self.place(lines.index(heading) + int(not self.comparison.is_folded(line.section)))
        else:
            self.place(1)
