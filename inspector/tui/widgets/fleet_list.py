"""A fleet line by line: whatever its view has."""

from __future__ import annotations

from rich.segment import Segment

from inspector.tui.fleet_view import View, fitted
from inspector.tui.widgets.line_view import LineView


class FleetList(LineView):
    """The lines of a view; only those on screen are made."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view

    def line_count(self) -> int:
        """See LineView."""
        return self.view.count

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView; names and CPUs, which differ at their ends, are cut in the middle."""
        return [
            Segment(text, self.style_of(style) if style else None) for text, style in fitted(self.view.row(line), width)
        ]
