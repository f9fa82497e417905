"""The timeline: events that happened with their answers, and those still to come."""

from __future__ import annotations

from typing import Any

from rich.segment import Segment

from inspector.capture.errors import visible
from inspector.machine.world import BaseWorld, WorldStep
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.lanes import LEAST_WIDTH, coming_line, is_fine, lane_names, lanes_line
from inspector.tui.widgets.line_view import LineView

_EVENT_WIDTH, _NAME = 42, "timeline "


class Timeline(LineView):
    """One line an event: as swim lanes where there is room for them, whose names stand in the border above."""

    # Lines do not move sideways when there are more of them than fit.
    DEFAULT_CSS = "Timeline { scrollbar-gutter: stable; }"

    def __init__(self, world: BaseWorld[Any], to_come: list[str]) -> None:
        super().__init__()
        self.world = world
        self.to_come = to_come
        self._title = ""

    @property
    def has_lanes(self) -> bool:
        """There is room for them."""
        return self.scrollable_content_region.width >= LEAST_WIDTH

    @property
    def is_counted(self) -> bool:
        """The world counts what its events cost."""
        return bool(self.world.costs_by_name())

    def resized(self) -> None:
        """See LineView."""
        super().resized()
        width = self.scrollable_content_region.width
        names = lane_names(width, "─", counted=self.is_counted) if self.has_lanes else ""
        title = _NAME + names[len(_NAME) :]
        # Textual paints all lines for a title, another one or not.
        if title != self._title:
            self._title = self.border_title = title

    def line_count(self) -> int:
        """See LineView."""
        return len(self.world.steps) + len(self.to_come)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        return [
            Segment(piece.text, self.style_of(piece.style) if piece.style else None)
            for piece in self._drawn(line, width)
        ]

    def _drawn(self, line: int, width: int) -> Drawn:
        steps = self.world.steps
        if line >= len(steps):
            event = self.to_come[line - len(steps)]
            if self.has_lanes:
                return coming_line(event, line + 1, width, counted=self.is_counted)
            return [Piece(f"{line + 1:>3}  {event}", "quiet")]
        return lanes_line(steps[line], line + 1, width) if self.has_lanes else _plain(steps[line], line + 1)


def _plain(step: WorldStep[Any], number: int) -> Drawn:
    """An event and its answer."""
    fine = is_fine(step)
    name = step.outcome.name if fine or not step.outcome.accepted else f"{step.outcome.name} !"
    return [Piece(f"{number:>3}  {visible(step.event):<{_EVENT_WIDTH}} "), Piece(name, "" if fine else "changed")]
