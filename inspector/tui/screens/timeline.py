"""The Timeline screen: events and their answers, and the whole state before and after the selected one."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from inspector.export.machine_state import words_of
from inspector.machine.world import BaseWorld, WorldStep
from inspector.tui import lab_keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.key import bindings
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView, fitted
from inspector.tui.widgets.timeline import Timeline

_NAME_WIDTH, _VALUES_WIDTH = 37, 50


class StateView(LineView):
    """One line a part of the state: its name, before, after; ``≠`` where they differ."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, str, str]] = []

    def show(self, step: WorldStep[Any] | None) -> None:
        """The state around an event."""
        before = words_of(step.before) if step is not None else {}
        after = words_of(step.after) if step is not None else {}
        names = [*after, *(name for name in before if name not in after)]
        self.rows = [(name, before.get(name, "-"), after.get(name, "-")) for name in names]
        self.resized()

    def line_count(self) -> int:
        """See LineView."""
        return len(self.rows)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        name, before, after = self.rows[line]
        wide = max(20, min(_NAME_WIDTH, width - _VALUES_WIDTH))
        cell = max(8, (width - wide - 3) // 2)
        differs = before != after
        style = self.style_of("changed") if differs else None
        return [
            Segment(f"{'≠' if differs else ' '} {fitted(name, wide - 1):<{wide}}", style),
            Segment(f"{fitted(before, cell - 1):<{cell}}", None if differs else self.style_of("quiet")),
            Segment(fitted(after, cell), style or self.style_of("quiet")),
        ]


class TimelineScreen(KeyedScreen):
    """Step through what happened."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.TIMELINE)
    keys_name = "timeline"
    DEFAULT_CSS = """
    TimelineScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    TimelineScreen #body { height: 1fr; layout: vertical; }
    TimelineScreen Timeline { height: 2fr; padding: 0 1; }
    TimelineScreen StateView { height: 3fr; padding: 0 1; border-top: solid $primary; }
    TimelineScreen.wide #body { layout: horizontal; }
    TimelineScreen.wide Timeline { width: 2fr; height: 1fr; }
    TimelineScreen.wide StateView { width: 3fr; height: 1fr; border-top: none; border-left: solid $primary; }
    """

    def __init__(self, world: BaseWorld[Any], title: str, line: int) -> None:
        super().__init__()
        self.world = world
        self.heading = title
        self.line = line

    def compose(self) -> ComposeResult:
        """The events, and the state around the selected one."""
        yield Static(self.heading, id="title", markup=False)
        with Container(id="body"):
            yield Timeline(self.world, [])
            yield StateView()
        yield KeyLine()

    def on_mount(self) -> None:
        """Start at the event that was selected in the lab."""
        timeline = self.query_one(Timeline)
        self.query_one(StateView).border_title = "state: before, after"
        self.set_class(self.app.size.width >= 120, "wide")
        timeline.resized()
        timeline.place(self.line)
        self.set_focus(timeline)
        self._show(self.line)

    def on_line_view_moved(self, event: Timeline.Moved) -> None:
        """The state follows the cursor."""
        if isinstance(event.view, Timeline):
            self._show(event.line)

    def _show(self, line: int) -> None:
        steps = self.world.steps
        self.query_one(StateView).show(steps[line] if line < len(steps) else None)
