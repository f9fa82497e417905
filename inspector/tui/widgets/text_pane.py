"""A pane of styled text; scrolls both ways, wraps where it is told to."""

from __future__ import annotations

from typing import ClassVar

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import BindingType
from textual.color import Color
from textual.containers import ScrollableContainer
from textual.geometry import Size
from textual.strip import Strip

from inspector.tui.contrast import legible
from inspector.tui.shown import visible_text
from inspector.tui.widgets.line_pane import LinePane, cut

#: From a colour of a terminal to its brighter one.
_BRIGHT = 8


class TextPane(LinePane, can_focus=True):
    """What is cut at the right ends in ``…``; with ``wraps`` nothing is cut."""

    BINDINGS: ClassVar[list[BindingType]] = ScrollableContainer.BINDINGS
    # Scroll bars that come and go would lay out the screen anew with every text.
    DEFAULT_CSS = """
    TextPane {
        background: $background; color: $line-text; overflow: hidden scroll; scrollbar-size-vertical: 1;
        scrollbar-background: $background;
    }
    """
    wraps = False

    def __init__(self) -> None:
        super().__init__()
        self._text = Text()
        self._lines: list[Strip] = []
        self._styles: dict[Style, Style] = {}

    @property
    def text_width(self) -> int:
        """Columns for text, before the first layout about as many as there will be."""
        return self.scrollable_content_region.width if self.size.width else self.app.size.width // 2

    def tell(self, text: Text) -> None:
        """Show a text from its beginning."""
        self._text = visible_text(text)
        self._laid_out()
        self.scroll_home(animate=False, force=True, immediate=True)
        self.changed()

    def _laid_out(self) -> None:
        """The text as lines."""
        console, text = self.app.console, self._text
        lines = text.wrap(console, max(1, self.text_width)) if self.wraps else text.split("\n", allow_blank=True)
        self._lines = [Strip(Segment(s.text, s.style) for s in line.render(console) if s.text) for line in lines]
        width = 0 if self.wraps else max((line.cell_length for line in self._lines), default=0)
        self.take_size(Size(width, len(self._lines)))

    def on_resize(self) -> None:
        """Wrapped text is wrapped anew."""
        self._laid_out()
        self.changed()

    def watch_scroll_x(self, old_value: float, new_value: float) -> None:
        """Sideways every line is another."""
        self._made.clear()
        super().watch_scroll_x(old_value, new_value)

    def strip_of(self, line: int, width: int) -> Strip:
        """See LinePane."""
        if line >= len(self._lines):
            return Strip.blank(width, self.ground)
        shown = cut(self._lines[line].crop(self.scroll_offset.x), width)
        found = [Segment(s.text, self.ground + self._readable(s.style or Style.null())) for s in shown]
        return Strip(found, width).simplify()

    def notify_style_update(self) -> None:
        """Another theme: other colours can be read."""
        self._styles.clear()
        super().notify_style_update()

    def _readable(self, style: Style) -> Style:
        """A text's own style, its colour as far from the pane's as reading needs; dim is the theme's quiet."""
        if style not in self._styles:
            self._styles[style] = self._made_readable(style)
        return self._styles[style]

    def _made_readable(self, style: Style) -> Style:
        if self.app.native_ansi_color:
            return _brighter(style) if self.app.current_theme.dark else style
        if style.dim:
            quiet = RichColor.parse(self.app.get_css_variables()["line-quiet"])
            return Style.combine([style, Style(color=quiet, dim=False)])
        if style.color is None or style.color.is_default:
            return style
        colour = Color.from_rich_color(RichColor.from_triplet(style.color.get_truecolor(self.app.ansi_theme)))
        return style + Style(color=legible(colour, self.styles.background).rich_color)


def _brighter(style: Style) -> Style:
    """Of the terminal's own colours the brighter one, as contrast.bright."""
    number = style.color.number if style.color is not None else None
    if number is None or not 0 < number < _BRIGHT - 1:
        return style
    return style + Style(color=RichColor.from_ansi(number + _BRIGHT))
