"""One line a property of an arm64 guest: host, model, guest, and the values that the host accepts."""

from __future__ import annotations

from typing import NamedTuple

from rich.segment import Segment

from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from inspector.tui.widgets.line_view import LineView

_NAME_WIDTH, _VALUE_WIDTH = 24, 10


class Toggle(NamedTuple):
    """A vCPU feature or a vector length, on or off; ``blocks``: the host cannot give it so."""

    name: str
    host: bool
    guest: bool
    blocks: bool


#: A line: a heading, a switch or a vector length by name, or a property.
Line = str | Toggle | PropertyRow


class PropertyList(LineView):
    """Switches and vector lengths first, then properties by register.

    ``●`` on, ``·`` off; ``✗`` before a name: it blocks. ``settable``: only properties that can have another value.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self.bench = bench
        self.settable = True
        self.lines: list[Line] = []
        self._in_the_way: frozenset[str] = frozenset()
        self._make()

    def _make(self) -> None:
        self._in_the_way = frozenset(self._registers_in_the_way())
        self.lines = self._made_lines()

    def _made_lines(self) -> list[Line]:
        bench = self.bench
        lines: list[Line] = ["vCPU features and SVE vector lengths", *self._toggles()]
        register = ""
        for row in bench.rows:
            if self.settable and not self._is_settable(row):
                continue
            if row.register != register:
                register = row.register
                value = bench.made.request.registers.get(row.entry.places[0].encoding, 0)
                lines.append(f"{register}  {value:#018x}")
            lines.append(row)
        shown = {str(line).partition(" ")[0] for line in lines}
        return lines + [name for name in sorted(self._in_the_way) if name not in shown]

    def _toggles(self) -> list[Toggle]:
        """Switches and lengths. KVM takes exactly the host's lengths up to the guest's longest (sve.check_vls)."""
        named = {blocker.name for blocker in self.bench.made.blockers if blocker.place is None}
        lengths = self.bench.lengths()
        longest = max((length for length, _, guest in lengths if guest), default=0)
        return [Toggle(name, *both, name in named) for name, both in self.bench.switches().items()] + [
            Toggle(f"sve{length * 8}", host, guest, "sve" in named and length <= longest and host is not guest)
            for length, host, guest in lengths
        ]

    def _registers_in_the_way(self) -> list[str]:
        """Registers with a blocker that no property tells of."""
        told = {blocker for row in self.bench.rows for blocker in row.blockers}
        toggles = self.bench.switches()
        names = [b.place.register if b.place else b.name for b in self.bench.made.blockers if b not in told]
        return [name for name in dict.fromkeys(names) if name not in toggles]

    def blocks(self, line: Line) -> bool:
        """Whether a line is in the way of the guest."""
        if isinstance(line, PropertyRow):
            return bool(line.blockers)
        return line.blocks if isinstance(line, Toggle) else line.partition(" ")[0] in self._in_the_way

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
        self._make()
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
            at = (start + step) % count
            if self.blocks(self.lines[at]):
                return at
        return None

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        found = self.lines[line]
        mark = "✗ " if self.blocks(found) else "  "
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


def name_of(line: Line) -> str:
    """The name of a property, a switch or a length; nothing for a heading."""
    if isinstance(line, PropertyRow):
        return line.name
    return "" if isinstance(line, str) else line.name


def _cell(text: str, width: int) -> str:
    return f"{text[: width - 1]:<{width}}"
