"""The fields of the selected area: value, meaning, changed or not; bits and elements unfold."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType

from inspector.tui import keys
from inspector.tui.key import bindings
from inspector.tui.widgets.line_view import LineView, fitted

if TYPE_CHECKING:
    from inspector.decode.notes import Note
    from inspector.tui.rows import Row, Rows
    from inspector.tui.session import Session


def highlighted(line: list[Segment], text: str, mark: Style) -> list[Segment]:
    """A line with every place marked where a text is, in capitals or not, within one of its segments."""
    if not text:
        return line
    found = []
    for segment in line:
        words, low, at = segment.text, segment.text.lower(), 0
        while len(low) == len(words) and (here := low.find(text, at)) >= 0:
            end = here + len(text)
            found += [Segment(words[at:here], segment.style), Segment(words[here:end], (segment.style or mark) + mark)]
            at = end
        found.append(Segment(words[at:], segment.style))
    return found


class FieldList(LineView):
    """One line a field. A line is decoded when it is painted."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.FIELDS)

    session: Session | None = None
    notes: Mapping[str, Note] = MappingProxyType({})
    #: The rows whose names were measured, and the columns of the longest.
    _measured: tuple[list[Row], int] = ([], 0)

    def show(self, session: Session) -> None:
        """Show a session's area and put the cursor where it is."""
        self.session = session
        self.notes = session.notes()
        self.renewed(session.cursor)

    def line_count(self) -> int:
        """See LineView."""
        rows = self.session.rows if self.session else None
        return len(rows.visible) if rows else 0

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        assert self.session is not None
        assert self.session.rows is not None
        rows = self.session.rows
        row = rows.visible[line]
        fold = "  " if not row.unfolds else ("▸ " if rows.is_folded(row) else "▾ ")
        if row.spec is None:
            return [Segment(fitted(fold + rows.heading(row.group), width), self.style_of("heading"))]
        return self._field(rows, row, fold, width)

    def _field(self, rows: Rows, row: Row, fold: str, width: int) -> list[Segment]:
        assert row.spec is not None
        assert self.session is not None
        field = rows.table.decode(row.spec)
        name = self.short_name(row.spec.path, row)
        name_width = max(16, min(self._longest_name(rows), 34, width // 3))
        moved = row.spec.path in self.session.moved.get(self.session.vcpu_number, ())
        mark = "~" if field.changed else "≠" if moved else " "
        head = f"{mark}{'  ' * row.depth}{fold}{name}"
        head = f"{fitted(head, name_width):<{name_width}} "
        if field.value is None:
            return [Segment(head), Segment(fitted(field.text, width - len(head)), self.style_of("missing"))]
        from inspector.decode.values import short_hex

        value_width = 20 if width < 90 else 37
        value = short_hex(field.value, field.bits, value_width - 1)
        style = None
        if field.changed or moved:
            style = self.style_of("changed")
        elif field.state == "initial" or row.spec.is_structure:
            style = self.style_of("quiet")
        note = self.notes.get(row.spec.path)
        words = f"{note.brief}: {field.text}" if note is not None and note.brief else field.text
        text = fitted(words, width - len(head) - value_width)
        line = [Segment(head, style), Segment(f"{value:<{value_width}}", style), Segment(text, style)]
        return highlighted(line, self.session.highlighted, self.style_of("mark"))

    def _longest_name(self, rows: Rows) -> int:
        """Columns that names take, with their marks: what is left is the meanings'."""
        if self._measured[0] is not rows.visible:
            names = (2 * row.depth + 3 + len(self.short_name(row.spec.path, row)) for row in rows.visible if row.spec)
            self._measured = (rows.visible, max(names, default=0))
        return self._measured[1]

    def action_unfold(self) -> None:
        """Unfold the row, if it can be."""
        self._fold(fold=False)

    def action_fold(self) -> None:
        """Fold the row; one that cannot be leads to what it is a part of."""
        rows = self.session.rows if self.session else None
        if rows is None or self.cursor >= len(rows.visible) or self._fold(fold=True):
            return
        depth = rows.visible[self.cursor].depth
        above = (number for number in range(self.cursor, -1, -1) if rows.visible[number].depth < depth)
        self.move_to(next(above, self.cursor))

    def _fold(self, *, fold: bool) -> bool:
        """Fold or unfold the row as Space does; whether it was the other way."""
        rows = self.session.rows if self.session else None
        if rows is None or self.cursor >= len(rows.visible):
            return False
        row = rows.visible[self.cursor]
        if not row.unfolds or rows.is_folded(row) == fold:
            return False
        self.post_message(self.Chosen(self))
        return True

    def short_name(self, path: str, row: Row) -> str:
        """The last words of a path: the heading says the rest."""
        assert self.session is not None
        assert self.session.area is not None
        name = path.removeprefix(f"{self.session.area.prefix}.").removeprefix("xstate.")
        return name.removeprefix(f"{row.group}.")
