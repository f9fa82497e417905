"""One line a property of an arm64 guest: host, model, guest, and the values that the host accepts."""

from __future__ import annotations

from rich.segment import Segment

from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from inspector.tui.widgets.line_view import LineView

_NAME_WIDTH, _VALUE_WIDTH = 24, 10
#: A line: a heading, a switch or a vector length by name, or a property.
Line = str | tuple[str, bool, bool] | PropertyRow


class PropertyList(LineView):
    """Switches and vector lengths first, then properties by register.

    ``●`` on, ``·`` off; ``✗`` before a name: it blocks. ``settable``: only properties that can have another value.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self.bench = bench
        self.settable = True
        self.lines: list[Line] = self._made_lines()

    def _made_lines(self) -> list[Line]:
        bench = self.bench
        lines: list[Line] = ["vCPU features and SVE vector lengths"]
        lines += [(name, *both) for name, both in bench.switches().items()]
        lines += [(f"sve{length * 8}", hosts, guests) for length, hosts, guests in bench.lengths()]
        register = ""
        for row in bench.rows:
            if self.settable and not self._is_settable(row):
                continue
            if row.register != register:
                register = row.register
                value = bench.made.request.registers.get(row.entry.places[0].encoding, 0)
                lines.append(f"{register}  {value:#018x}")
            lines.append(row)
        return lines

    @staticmethod
    def _is_settable(row: PropertyRow) -> bool:
        return len(row.accepted.values) > 1 or bool(row.blockers) or row.guest != row.host

    def heading(self, width: int) -> str:
        """The names of the columns."""
        model = f"{'model':<{_VALUE_WIDTH}}" if self._has_model(width) else ""
        return (
            f"  {'property':<{_NAME_WIDTH}}{'host':<{_VALUE_WIDTH}}{model}{'guest':<{_VALUE_WIDTH}}accepted by the host"
        )

    def _has_model(self, width: int) -> bool:
        return bool(self.bench.setup.model) and width >= 72

    def selected(self) -> Line:
        """The line under the cursor."""
        return self.lines[min(self.cursor, len(self.lines) - 1)]

    def line_count(self) -> int:
        """See LineView."""
        return len(self.lines)

    def resized(self) -> None:
        """The workbench has changed too."""
        self.lines = self._made_lines()
        super().resized()

    def find(self, name: str) -> int | None:
        """The line of a property, a switch or a length."""
        return next((at for at, line in enumerate(self.lines) if name_of(line) == name), None)

    def search(self, text: str, start: int) -> int | None:
        """The next line after ``start`` whose name or register has the text."""
        count = len(self.lines)
        for step in range(1, count + 1):
            at = (start + step) % count
            line = self.lines[at]
            words = line if isinstance(line, str) else name_of(line)
            if text.lower() in words.lower():
                return at
        return None

    def next_blocked(self, start: int) -> int | None:
        """The next line after ``start`` that blocks."""
        count = len(self.lines)
        for step in range(1, count + 1):
            line = self.lines[(start + step) % count]
            if isinstance(line, PropertyRow) and line.blockers:
                return (start + step) % count
        return None

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        found = self.lines[line]
        if isinstance(found, str):
            return [Segment(found, self.style_of("heading"))]
        if not isinstance(found, PropertyRow):
            name, hosts, guests = found
            missing = guests and not hosts
            mark = "✗ " if missing else "  "
            host, guest = ("●" if hosts else "·"), ("●" if guests else "·")
            gap = " " * (_VALUE_WIDTH if self._has_model(width) else 0)
            text = f"{mark}{name:<{_NAME_WIDTH}}{host:<{_VALUE_WIDTH}}{gap}{guest}"
            return [Segment(text, self.style_of("changed") if missing else None)]
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


def name_of(line: Line) -> str:
    """The name of a property, a switch or a length; nothing for a heading."""
    if isinstance(line, PropertyRow):
        return line.name
    return "" if isinstance(line, str) else line[0]


def _cell(text: str, width: int) -> str:
    return f"{text[: width - 1]:<{width}}"
