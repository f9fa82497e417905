"""One line a component: its bit at every level, its place, and what touching it gives."""

from __future__ import annotations

from rich.segment import Segment

from inspector.machine.x86.matrix import ComponentRow, component_rows
from inspector.machine.x86.world import World
from inspector.tui.widgets.line_view import LineView

_COLUMNS = ("host", "perm", "gperm", "CPUID", "XCR0", "XFD", "use", "room")


class ComponentMatrix(LineView):
    """Bits are ``●`` set, ``·`` clear, blank where there is no vCPU yet."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.rows = component_rows(world)

    @staticmethod
    def heading() -> str:
        """The names of the columns."""
        names = "".join(f"{name:<6}" for name in _COLUMNS)
        return f"{'component':<13}{'touch':<6}{names}{'at':<5}{'bytes'}"

    def row(self) -> ComponentRow:
        """The selected component."""
        return self.rows[min(self.cursor, len(self.rows) - 1)]

    def line_count(self) -> int:
        """See LineView."""
        return len(self.rows)

    def resized(self) -> None:
        """The world has changed too."""
        self.rows = component_rows(self.world)
        super().resized()

    def get_content_height(self, *_: object) -> int:
        """A line a component."""
        return len(self.rows)

    def paint(self, line: int, width: int) -> list[Segment]:  # noqa: ARG002
        """See LineView."""
        row = self.rows[line]
        bits = (row.host, row.permission, row.guest_permission, row.cpuid, row.xcr0, row.xfd, row.in_use, row.room)
        marks = "".join(f"{' ' if bit is None else '●' if bit else '·':<6}" for bit in bits)
        refused = row.touch.startswith("#")
        return [
            Segment(f"{row.number:>2} {row.name[:9]:<10}"),
            Segment(f"{row.touch:<6}", self.style_of("changed") if refused else None),
            Segment(marks),
            Segment(f"{row.offset:<5}{row.size_bytes}", self.style_of("quiet")),
        ]
