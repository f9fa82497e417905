"""The Timeline screen: events as swim lanes; the selected one's way in full, and the whole state before and after."""

from __future__ import annotations

from itertools import zip_longest
from textwrap import wrap
from typing import Any, ClassVar, NamedTuple

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from inspector.export.machine_state import words_of
from inspector.machine.world import BaseWorld, WorldStep
from inspector.tui import lab_keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.key import bindings
from inspector.tui.lanes import LEAST_WIDTH, LEGEND, lanes_heading, path_lines
from inspector.tui.widgets.drawn_view import DrawnView
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView, fitted
from inspector.tui.widgets.timeline import Timeline

#: What the values have at least, both together; the sign in front and a space behind a name.
_VALUES_WIDTH, _LEAST_NAME, _SIGN = 44, 24, 3
#: From so many columns on, who acts and the state are side by side. Below one another they are given more of the screen
#: than the events where it has so many lines.
_WIDE_COLUMNS, _HIGH_LINES = 150, 30


class _Line(NamedTuple):
    """A line of a part of the state, ``row`` of all parts; the name is in its first one."""

    row: int
    name: str
    before: str
    after: str
    differs: bool


class StateView(LineView):
    """Each part of the state: its name, before, after, on as many lines as they need; ``≠`` where they differ."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, str, str]] = []
        self._lines: list[_Line] = []

    def show(self, step: WorldStep[Any] | None) -> None:
        """The state around an event."""
        before = words_of(step.before) if step is not None else {}
        after = words_of(step.after) if step is not None else {}
        names = [*after, *(name for name in before if name not in after)]
        self.rows = [(name, before.get(name, "-"), after.get(name, "-")) for name in names]
        self._wrap()
        self.renewed(next((at for at, line in enumerate(self._lines) if line.differs), 0))

    def resized(self) -> None:
        """See LineView: values are wrapped anew, the cursor stays on its part."""
        row = self._lines[self.cursor].row if self.cursor < len(self._lines) else 0
        self._wrap()
        super().resized()
        self.place(next((at for at, line in enumerate(self._lines) if line.row == row), 0))

    def _wrap(self) -> None:
        _, cell = self._columns(self.scrollable_content_region.width)
        self._lines = [
            _Line(row, name if number == 0 else "", one, other, before != after)
            for row, (name, before, after) in enumerate(self.rows)
            for number, (one, other) in enumerate(
                zip_longest(wrap(before, cell - 1), wrap(after, cell - 1), fillvalue="")
            )
        ]

    def _columns(self, width: int) -> tuple[int, int]:
        """Columns of a name, as many as the longest takes where there is room, and of a value."""
        longest = max((len(name) for name, *_ in self.rows), default=0) + _SIGN
        name = max(_LEAST_NAME, min(longest, width - _VALUES_WIDTH))
        return name, max(8, (width - name) // 2)

    def line_count(self) -> int:
        """See LineView."""
        return len(self._lines)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        shown = self._lines[line]
        name, cell = self._columns(width)
        style = self.style_of("changed") if shown.differs else None
        sign = "≠" if shown.differs and shown.name else " "
        return [
            Segment(f"{sign} {fitted(shown.name, name - _SIGN):<{name - 2}}", style),
            Segment(f"{shown.before:<{cell}}", None if shown.differs else self.style_of("quiet")),
            Segment(shown.after, style or self.style_of("quiet")),
        ]


class TimelineScreen(KeyedScreen):
    """Step through what happened."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.TIMELINE)
    keys_name = "timeline"
    DEFAULT_CSS = """
    TimelineScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    TimelineScreen #names { height: auto; padding: 0 2 0 1; background: $background; }
    TimelineScreen Timeline { height: auto; max-height: 50%; padding: 0 1; }
    TimelineScreen #below { height: 1fr; layout: vertical; }
    TimelineScreen #way { height: auto; max-height: 50%; padding: 0 1; border-top: solid $pane-edge; }
    TimelineScreen StateView { height: 1fr; padding: 0 1; border-top: solid $pane-edge; }
    TimelineScreen.high Timeline { max-height: 35%; }
    TimelineScreen.high #way { max-height: 60%; }
    TimelineScreen.wide Timeline { max-height: 50%; }
    TimelineScreen.wide #below { layout: horizontal; }
    TimelineScreen.wide #way { width: 1fr; height: 1fr; max-height: 100%; }
    TimelineScreen.wide StateView { width: 1fr; border-left: solid $pane-edge; }
    """

    def __init__(self, world: BaseWorld[Any], title: str, line: int) -> None:
        super().__init__()
        self.world = world
        self.heading = title
        self.line = line

    def compose(self) -> ComposeResult:
        """The events, and the state around the selected one."""
        yield Static(self.heading, id="title", markup=False)
        yield DrawnView(self._names, "names")
        yield Timeline(self.world, [])
        with Container(id="below"):
            yield DrawnView(self._way, "way")
            yield StateView()
        yield KeyLine()

    def on_mount(self) -> None:
        """Start at the event that was selected in the lab."""
        timeline = self.query_one(Timeline)
        self.query_one(StateView).border_title = "state: before, after"
        self.query_one("#way", DrawnView).border_title = "who acts"
        timeline.resized()
        timeline.place(self.line)
        self.set_focus(timeline)
        self._show(self.line)

    def on_resize(self, event: events.Resize) -> None:
        """Who acts and the state side by side where there is room."""
        self.set_class(event.size.width >= _WIDE_COLUMNS, "wide")
        self.set_class(event.size.height >= _HIGH_LINES, "high")

    def on_line_view_moved(self, event: Timeline.Moved) -> None:
        """The state follows the cursor."""
        if isinstance(event.view, Timeline):
            self._show(event.line)

    def _names(self, width: int) -> list[Drawn]:
        """The lanes' names, and what their signs mean."""
        if width < LEAST_WIDTH:
            return []
        return [[Piece(fitted(LEGEND, width), "quiet")], lanes_heading(width, counted=bool(self.world.costs_by_name()))]

    def _way(self, width: int) -> list[Drawn]:
        """The selected event: who acts, in order."""
        steps, line = self.world.steps, self.query_one(Timeline).cursor
        return path_lines(steps[line], width) if line < len(steps) else []

    def _show(self, line: int) -> None:
        steps = self.world.steps
        self.query_one(StateView).show(steps[line] if line < len(steps) else None)
        self.query_one("#way", DrawnView).resized()
