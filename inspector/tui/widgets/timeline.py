"""The timeline: events that happened with their answers, and those still to come."""

from __future__ import annotations

from typing import Any

from rich.segment import Segment

from inspector.capture.errors import visible
from inspector.machine.world import BaseWorld
from inspector.tui.widgets.line_view import LineView


class Timeline(LineView):
    """One line an event."""

    def __init__(self, world: BaseWorld[Any], to_come: list[str]) -> None:
        super().__init__()
        self.world = world
        self.to_come = to_come

    def line_count(self) -> int:
        """See LineView."""
        return len(self.world.steps) + len(self.to_come)

    def paint(self, line: int, width: int) -> list[Segment]:  # noqa: ARG002
        """See LineView."""
        steps = self.world.steps
        if line >= len(steps):
            return [Segment(f"{line + 1:>3}  {self.to_come[line - len(steps)]}", self.style_of("quiet"))]
        step = steps[line]
        outcome = step.outcome
        fine = all(check.held for check in outcome.checks)
        name = outcome.name if outcome.accepted and fine else f"{outcome.name} !"
        return [
            Segment(f"{line + 1:>3}  {visible(step.event):<42} "),
            Segment(name, None if fine else self.style_of("changed")),
        ]
