"""One line a property of an arm64 guest: host, model, guest, and the values that the host accepts."""

from __future__ import annotations

from rich.segment import Segment

from inspector.machine.arm64.models.workbench import PropertyRow
from inspector.tui.id_lab_session import IdLabSession, Line, Toggle
from inspector.tui.widgets.line_view import LineView, fitted

_NAME_WIDTH, _VALUE_WIDTH = 24, 10


class PropertyList(LineView):
    """Switches and vector lengths first, then properties by register.

    ``●`` on, ``·`` off; ``✗`` before a name: it blocks.
    """

    def __init__(self, session: IdLabSession) -> None:
        super().__init__()
        self.session = session

    def heading(self, width: int) -> str:
        """The names of the columns."""
        model = f"{'model':<{_VALUE_WIDTH}}" if self._has_model(width) else ""
        return (
            f"  {'property':<{_NAME_WIDTH}}{'host':<{_VALUE_WIDTH}}{model}{'guest':<{_VALUE_WIDTH}}accepted by the host"
        )

    def _has_model(self, width: int) -> bool:
        return bool(self.session.bench.setup.model) and width >= 72

    def selected(self) -> Line:
        """The line under the cursor."""
        return self.session.lines[min(self.cursor, len(self.session.lines) - 1)]

    def line_count(self) -> int:
        """See LineView."""
        return len(self.session.lines)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        found = self.session.lines[line]
        mark = "✗ " if self.session.blocks(found) else "  "
        if isinstance(found, str):
            return [Segment(f"{mark}{found}" if mark != "  " else found, self.style_of("heading"))]
        if isinstance(found, Toggle):
            host, guest = ("●" if found.host else "·"), ("●" if found.guest else "·")
            gap = " " * (_VALUE_WIDTH if self._has_model(width) else 0)
            text = f"{mark}{found.name:<{_NAME_WIDTH}}{host:<{_VALUE_WIDTH}}{gap}{guest}"
            return [Segment(text, self.style_of("changed") if found.blocks else None)]
        return self._property(found, width)

    def _property(self, row: PropertyRow, width: int) -> list[Segment]:
        mark = "✗ " if row.blockers else "~ " if row.guest != row.model else "  "
        head = f"{mark}{_cell(row.name, _NAME_WIDTH)}{_cell(row.host, _VALUE_WIDTH)}"
        if self._has_model(width):
            head += _cell(row.model, _VALUE_WIDTH)
        style = self.style_of("changed") if mark != "  " else None
        segments = [Segment(head, style), Segment(_cell(row.guest, _VALUE_WIDTH), style)]
        for choice in row.accepted.choices:
            if choice.outcome.accepted:
                chosen = choice.text == row.guest
                text = f"[{choice.text}]" if chosen else f" {choice.text} "
                segments.append(Segment(text, None if chosen else self.style_of("quiet")))
        return segments


def _cell(text: str, width: int) -> str:
    return f"{fitted(text, width - 1):<{width}}"
