"""A pane of lines that sends to the terminal only the lines that have changed."""

from __future__ import annotations

from typing import Self

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar
from textual.strip import Strip


class LinePane(ScrollView, inherit_bindings=False):
    """Textual paints what a widget calls dirty, changed or not: this one compares its lines with those on screen.

    Subclasses make the strip of a line and call ``changed`` when what is shown is something else.
    """

    DEFAULT_CSS = "LinePane { border-title-color: $pane-title; }"

    def __init__(self, name: str | None = None) -> None:
        super().__init__(id=name)
        #: The lines on screen, by number; those that were painted in another style, which is on screen still.
        self._made: dict[int, Strip] = {}
        self._faded: dict[int, Strip] = {}
        self._made_width = 0
        self._ground: Style | None = None

    def strip_of(self, line: int, width: int) -> Strip:
        """The line of a number, as wide as the pane."""
        raise NotImplementedError

    @property
    def ground(self) -> Style:
        """The style of the pane, below every text."""
        if self._ground is None:
            self._ground = self.rich_style
        return self._ground

    def notify_style_update(self) -> None:
        """Another theme or focus: every line anew."""
        self._ground = None
        self._faded |= self._made
        self._made = {}
        super().notify_style_update()

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Paint; without regions, which is for a focus or a style, the lines that are others now."""
        is_bare = not any(edge for edge, _ in self.styles.border)
        if regions or layout or recompose or not repaint or not is_bare or not (self._made or self._faded):
            return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        self.changed()
        return self

    def changed(self) -> None:
        """Paint the lines that are not what is on screen."""
        width, top = self.scrollable_content_region.width, self.scroll_offset.y
        known = self._faded | self._made if width == self._made_width else {}
        self._made_width, self._faded = width, {}
        self._made = {line: self.strip_of(line, width) for line in range(top, top + self.size.height)}
        regions = [
            Region(0, line - top, self.size.width, 1) for line, strip in self._made.items() if known.get(line) != strip
        ]
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        """See ScrollView."""
        line, width = self.scroll_offset.y + y, self.scrollable_content_region.width
        if width != self._made_width:
            self._made, self._faded = {}, {}
            self._made_width = width
        if line not in self._made:
            self._made[line] = self.strip_of(line, width)
        return self._made[line]

    def take_size(self, size: Size) -> None:
        """Say how much there is to scroll through. Where a scroll bar comes or goes, panes are laid out anew."""
        if size == self.virtual_size:
            return
        if self._bars(size) == self._bars(self.virtual_size):
            self.set_reactive(ScrollView.virtual_size, size)
            self._scroll_update(size)
        else:
            self.virtual_size = size

    def _scroll_update(self, virtual_size: Size) -> None:
        """Textual paints a scroll bar anew with every layout: one that stays as it is is left alone."""
        bar, height = self.vertical_scrollbar, self.container_size.height
        now, then = (bar.window_virtual_size, bar.window_size), (virtual_size.height, height)
        is_still = now == then or (now[0] <= now[1] and then[0] <= then[1])
        if not self.show_vertical_scrollbar or not is_still:
            super()._scroll_update(virtual_size)
            return
        bar.set_reactive(ScrollBar.window_virtual_size, then[0])
        bar.set_reactive(ScrollBar.window_size, then[1])
        self.scroll_x, self.scroll_y = self.validate_scroll_x(self.scroll_x), self.validate_scroll_y(self.scroll_y)

    def _bars(self, size: Size) -> bool:
        """Whether there is a vertical scroll bar for so many lines."""
        return self.styles.overflow_y == "scroll" or size.height > self.size.height


def cut(strip: Strip, width: int) -> Strip:
    """A strip as wide as a pane; one that is longer ends in ``…``."""
    if strip.cell_length <= width:
        return strip.adjust_cell_length(width)
    kept = strip.crop(0, max(0, width - 1))
    *_, last = [*kept, Segment("")]
    return Strip([*kept, Segment("…", last.style)], width)
