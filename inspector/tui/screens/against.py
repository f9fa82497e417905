"""The Against screen: the same events under two policies, kernels or hosts, side by side."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from inspector.export.worlds import Comparison
from inspector.tui import lab_keys
from inspector.tui.against import LEGEND, against_heading, cost_lines, only_lines, pair_line
from inspector.tui.base_app import KeyedScreen
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.key import bindings
from inspector.tui.widgets.drawn_view import DrawnView
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView, fitted

#: A terminal is low below so many lines.
_LOW_LINES = 30


class PairList(LineView):
    """One line an event, with both answers."""

    DEFAULT_CSS = "PairList { scrollbar-gutter: stable; }"

    def __init__(self, found: Comparison) -> None:
        super().__init__()
        self.found = found

    def line_count(self) -> int:
        """See LineView."""
        return len(self.found.pairs)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        drawn = pair_line(self.found, self.found.pairs[line], width)
        return [Segment(piece.text, self.style_of(piece.style) if piece.style else None) for piece in drawn]


class AgainstScreen(KeyedScreen):
    """Step through what happened on both sides."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.AGAINST)
    keys_name = "against"
    DEFAULT_CSS = """
    AgainstScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    AgainstScreen #names, AgainstScreen #costs { height: auto; padding: 0 2 0 1; background: $background; }
    AgainstScreen PairList { height: auto; max-height: 50%; padding: 0 1; }
    AgainstScreen #only { height: 1fr; padding: 0 1; border-top: solid $pane-edge; }
    AgainstScreen #costs { border-top: solid $pane-edge; }
    AgainstScreen.low PairList { max-height: 30%; }
    """

    def __init__(self, found: Comparison, title: str) -> None:
        super().__init__()
        self.found = found
        self.heading = title

    def compose(self) -> ComposeResult:
        """The events, what differs in the selected one, the costs."""
        yield Static(self.heading, id="title", markup=False)
        yield DrawnView(self._names, "names")
        yield PairList(self.found)
        yield DrawnView(self._only, "only")
        yield DrawnView(self._costs, "costs")
        yield KeyLine()

    def on_mount(self) -> None:
        """Start at the first difference."""
        self.query_one("#only").border_title = "what differs"
        self.query_one("#costs").border_title = "costs"
        pairs = self.query_one(PairList)
        pairs.resized()
        self.set_focus(pairs)
        self.action_first()

    def on_resize(self, event: events.Resize) -> None:
        """In a low terminal what differs needs the lines of others."""
        self.set_class(event.size.height < _LOW_LINES, "low")
        self.query_one("#costs", DrawnView).resized()

    def action_first(self) -> None:
        """To the first difference."""
        first = self.found.first
        if first is not None:
            self.query_one(PairList).place(first.number - 1)
        self.query_one("#only", DrawnView).resized()

    def action_next(self, by: int) -> None:
        """To the next event that differs, around."""
        pairs, view = self.found.pairs, self.query_one(PairList)
        order = [(view.cursor + by * step) % len(pairs) for step in range(1, len(pairs) + 1)]
        view.move_to(next((at for at in order if pairs[at].differs), view.cursor))

    def on_line_view_moved(self, event: PairList.Moved) -> None:
        """What differs follows the cursor."""
        if isinstance(event.view, PairList):
            self.query_one("#only", DrawnView).resized()

    def _names(self, width: int) -> list[Drawn]:
        return [[Piece(fitted(LEGEND, width), "quiet")], *against_heading(self.found, width)]

    def _costs(self, width: int) -> list[Drawn]:
        """What each side paid; in a low terminal what both paid alike is left out."""
        is_high = self.app.size.height >= _LOW_LINES
        lines = zip(cost_lines(self.found, width), self.found.costs, strict=True)
        differing = [line for line, (_, one, other) in lines if is_high or one != other]
        return differing or [[Piece("  the same on both sides", "quiet")]]

    def _only(self, width: int) -> list[Drawn]:
        pairs, cursor = self.found.pairs, self.query_one(PairList).cursor
        return only_lines(self.found, pairs[cursor], width) if cursor < len(pairs) else []
