"""A list of lines of any length, painted line by line: only what is on screen is made."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from inspector.capture.errors import visible
from inspector.tui import keys
from inspector.tui.key import bindings
from inspector.tui.widgets.line_pane import LinePane, cut


class LineView(LinePane, can_focus=True, inherit_bindings=False):
    """A scrolling list with a cursor. Subclasses say how many lines there are and paint one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.LINES)

    DEFAULT_CSS = """
    LineView { background: $surface; color: $line-text; scrollbar-size-vertical: 1; overflow-x: hidden; }
    LineView > .line--cursor { background: $cursor-blurred; color: $on-cursor-blurred; text-style: bold; }
    LineView:focus > .line--cursor { background: $primary; color: $on-cursor; text-style: bold; }
    LineView > .line--heading { color: $line-heading; text-style: bold; }
    LineView > .line--quiet { color: $line-quiet; }
    LineView > .line--changed { color: $line-changed; text-style: bold; }
    LineView > .line--missing { color: $line-changed; text-style: italic; }
    LineView > .line--good { color: $line-good; }
    LineView > .line--bad { color: $line-bad; text-style: bold; }
    LineView > .line--mark { background: $mark; color: $on-mark; text-style: bold; }
    LineView:nocolor > .line--cursor { text-style: bold underline; }
    LineView:nocolor:focus > .line--cursor { text-style: bold reverse; }
    LineView:nocolor > .line--mark { text-style: bold reverse; }
    LineView:nocolor > .line--quiet { text-style: dim; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line--cursor",
        "line--heading",
        "line--quiet",
        "line--changed",
        "line--missing",
        "line--good",
        "line--bad",
        "line--mark",
    }

    cursor: reactive[int] = reactive(0, init=False, repaint=False)

    class Moved(Message):
        """The cursor is on another line.

        Keys come in bursts: by the time that this arrives the cursor may be elsewhere, and that is its ``line``.
        """

        def __init__(self, view: LineView) -> None:
            super().__init__()
            self.view = view

        @property
        def line(self) -> int:
            """Where the cursor is now."""
            return self.view.cursor

        @property
        def control(self) -> LineView:
            """The view, for the selector of ``on``."""
            return self.view

    class Chosen(Moved):
        """A line was clicked when the cursor was on it already."""

    def line_count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def paint(self, line: int, width: int) -> list[Segment]:
        """The segments of one line."""
        raise NotImplementedError

    def resized(self) -> None:
        """The number of lines has changed."""
        self.take_size(Size(self.size.width, self.line_count()))
        self.changed()

    def renewed(self, cursor: int) -> None:
        """The lines are others, and the cursor is on one of them: painted once, as with each key."""
        self.take_size(Size(self.size.width, self.line_count()))
        self.place(cursor)

    def on_resize(self, _event: events.Resize) -> None:
        """Keep the lines as wide as the pane."""
        self.resized()
        self.place(self.cursor)

    def style_of(self, name: str) -> Style:
        """The style of one of the component classes."""
        return self.get_component_rich_style(f"line--{name}", partial=True)

    def strip_of(self, line: int, width: int) -> Strip:
        """See LinePane."""
        if line >= self.line_count():
            return Strip.blank(width, self.ground)
        painted = Strip(Segment(visible(s.text), s.style) for s in self.paint(line, width))
        strip = cut(painted, width).apply_style(self.ground)
        if line == self.cursor and self.has_cursor:
            strip = self.with_cursor(strip)
        return strip.simplify()

    #: Whether the cursor's line is painted as such.
    has_cursor = True

    def with_cursor(self, strip: Strip) -> Strip:
        """A line as the cursor's line."""
        style = self.get_component_rich_style("line--cursor")
        return Strip([Segment(s.text, (s.style or Style()) + style) for s in strip], strip.cell_length)

    def watch_cursor(self) -> None:
        """Show the line and tell."""
        self.changed()
        self.show_cursor()

    def show_cursor(self) -> None:
        """Scroll until the cursor's line is on screen, at once: an animation would send it many times over."""
        if not self.size:
            # Nothing is on screen yet.
            return
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)

    def place(self, line: int) -> None:
        """Put the cursor on a line without telling anybody."""
        self.set_reactive(LineView.cursor, max(0, min(line, self.line_count() - 1)))
        self.changed()
        if self.size and not self.scroll_offset.y <= self.cursor < self.scroll_offset.y + self.size.height:
            self.scroll_to(y=max(0, self.cursor - self.lines_above()), animate=False, force=True)
        self.show_cursor()

    def lines_above(self) -> int:
        """Lines above one that comes from out of sight: it stands in the middle."""
        return self.size.height // 2

    def move_to(self, line: int) -> None:
        """Put the cursor on a line and tell."""
        line = max(0, min(line, self.line_count() - 1))
        if line != self.cursor:
            self.cursor = line
            self.post_message(self.Moved(self))

    def action_move(self, by: int) -> None:
        """Up or down."""
        self.move_to(self.cursor + by)

    def action_page(self, pages: int) -> None:
        """A page up or down."""
        self.move_to(self.cursor + pages * max(1, self.size.height - 1))

    def action_half_page(self, halves: int) -> None:
        """Half a page up or down."""
        self.move_to(self.cursor + halves * max(1, self.size.height // 2))

    def action_edge(self, where: int) -> None:
        """To the first or the last line."""
        self.move_to(0 if where < 0 else self.line_count() - 1)

    def on_click(self, event: events.Click) -> None:
        """To the line and column under the mouse; a second click chooses it."""
        line = self.scroll_offset.y + event.y
        if line >= self.line_count():
            return
        is_other = self.click_column(event.x - self.styles.padding.left)
        if line != self.cursor:
            self.move_to(line)
        elif not is_other:
            self.post_message(self.Chosen(self))

    def click_column(self, x: int) -> bool:  # noqa: ARG002
        """A click at a column of the text, of a line or of the heading above it; whether that chose another one."""
        return False

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.scroll_relative(y=3, animate=False)
        event.stop().prevent_default()

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.scroll_relative(y=-3, animate=False)
        event.stop().prevent_default()


def fitted(text: str, width: int) -> str:
    """A text that is not longer than a width; ``…`` where it was cut."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
