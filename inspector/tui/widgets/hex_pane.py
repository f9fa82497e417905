"""The bytes of the selected area. Its cursor and the field table's follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from inspector.decode.dropped import DroppedBytes
from inspector.decode.spec import Span
from inspector.tui import keys
from inspector.tui.key import bindings
from inspector.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from inspector.decode.spec import FieldSpec
    from inspector.tui.session import Session

_WIDE_COLUMNS = 16
_OFFSET_WIDTH = 6


def _bytes_of(spec: FieldSpec) -> tuple[tuple[int, int], ...]:
    """The bytes of a field; of a range of bits only those that the bits are in."""
    if spec.bit is None:
        return spec.pieces
    first, last = spec.bit.lsb // 8, (spec.bit.lsb + spec.bit.width - 1) // 8
    return ((spec.pieces[0].offset + first, last - first + 1),)


class HexPane(LineView):
    """Offset, bytes, characters; the selected field's bytes are marked."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.BYTES)

    has_cursor = False

    class ByteMoved(Message):
        """The cursor is on another byte of the area."""

        def __init__(self, offset: int) -> None:
            super().__init__()
            self.offset = offset

    session: Session | None = None
    byte = 0
    _marked: tuple[tuple[int, int], ...] = ()
    _dropped: DroppedBytes | None = None

    @property
    def columns(self) -> int:
        """Bytes a line: 16 where they fit, else 8."""
        return _WIDE_COLUMNS if self.size.width >= _OFFSET_WIDTH + 4 * _WIDE_COLUMNS + 2 else 8

    def line_count(self) -> int:
        """See LineView."""
        area = self.session.area if self.session else None
        return -(-area.size_bytes // self.columns) if area else 0

    def show(self, session: Session) -> None:
        """Show a session's area with the selected field marked."""
        self.session = session
        field = session.field()
        self._marked = _bytes_of(field.spec) if field else ()
        self._dropped = DroppedBytes(session.area) if session.area is not None else None
        if self._marked and not any(o <= self.byte < o + n for o, n in self._marked):
            self.byte = self._marked[0][0]
        self.renewed(self.byte // self.columns)

    def on_resize(self, event: events.Resize) -> None:
        """The number of columns may change, and with it the line of the byte."""
        super().on_resize(event)
        self.place(self.byte // self.columns)

    def paint(self, line: int, width: int) -> list[Segment]:  # noqa: ARG002 - every line has all columns
        """See LineView."""
        assert self.session is not None
        assert self.session.area is not None
        data, original = self.session.area.data, self.session.area.original
        start = line * self.columns
        row = bytes(data[start : start + self.columns])
        old = bytes(original[start : start + self.columns]) if original is not data else row
        quiet, mark, changed = self.style_of("quiet"), self.style_of("mark"), self.style_of("changed")
        cells = [Segment(f"{start:0{_OFFSET_WIDTH - 1}x} ", quiet)]
        letters = []
        for nth, byte in enumerate(row):
            style: Style | None = quiet if byte == 0 else None
            if byte != old[nth]:
                style = changed
            if any(offset <= start + nth < offset + size for offset, size in self._marked):
                # An edited byte stays one where the mark has its own colours.
                style = mark + Style(underline=byte != old[nth])
            if start + nth == self.byte and self.has_focus:
                style = self.get_component_rich_style("line--cursor")
            gap = "  " if nth % 8 == 7 else " "
            is_dropped = self._dropped is not None and bool(self._dropped.kind([Span(start + nth, 1)]))
            # The gap takes the quiet bytes' style: a run of them is then one piece for the terminal.
            cells += [Segment("··" if is_dropped else f"{byte:02x}", style), Segment(gap, quiet)]
            letters.append(Segment(chr(byte) if 32 <= byte < 127 else "·", style))
        missing = self.columns - len(row)
        cells.append(Segment("   " * missing))
        return cells + letters

    def lines_above(self) -> int:
        """A byte from out of sight stands near the top: what follows belongs to its field too."""
        return 2 if self.size.height > 6 else super().lines_above()

    def with_cursor(self, strip: Strip) -> Strip:
        """The byte is painted as the cursor, not its line."""
        return strip

    def go_to(self, offset: int) -> None:
        """Put the cursor on a byte and tell; nowhere until there are bytes."""
        if self.session is None or self.session.area is None or not self.session.area.size_bytes:
            return
        self.byte = max(0, min(offset, self.session.area.size_bytes - 1))
        self.place(self.byte // self.columns)
        self.post_message(self.ByteMoved(self.byte))

    def action_step(self, by: int) -> None:
        """A byte to the left or right."""
        self.go_to(self.byte + by)

    def action_move(self, by: int) -> None:
        """A line up or down."""
        self.go_to(self.byte + by * self.columns)

    def action_page(self, pages: int) -> None:
        """A page up or down."""
        self.go_to(self.byte + pages * self.columns * max(1, self.size.height - 1))

    def action_edge(self, where: int) -> None:
        """To the first or the last byte."""
        self.go_to(0 if where < 0 else 1 << 62)

    def on_click(self, event: events.Click) -> None:
        """To the byte under the mouse."""
        line = self.scroll_offset.y + event.y
        x = event.x - _OFFSET_WIDTH
        if x < 0 or line >= self.line_count():
            return
        group, rest = divmod(x, 25)
        nth = min(8 * group + rest // 3, self.columns - 1)
        self.go_to(line * self.columns + nth)

    def on_focus(self) -> None:
        """Show the cursor."""
        self.changed()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.changed()
