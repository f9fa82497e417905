"""One line a property of an arm64 guest: hosts, model, guest, and the values that are accepted."""

from __future__ import annotations

from typing import NamedTuple

from rich.segment import Segment

from inspector.machine.arm64.models.workbench import PropertyRow
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.id_lines import Line, Toggle
from inspector.tui.widgets.line_view import LineView, fitted

_VALUE_WIDTH, _WIDE_VALUE_WIDTH = 10, 13
#: Columns of the list that a model's values need beside one host, beside two, and names of hosts above theirs.
_MODEL_BESIDE_ONE, _MODEL_BESIDE_TWO, _WIDE = 72, 86, 92


class _Columns(NamedTuple):
    """Widths. ``model`` is 0 where its values are not shown."""

    mark: int
    name: int
    value: int
    model: int


class PropertyList(LineView):
    """Switches and vector lengths first, then properties by register.

    ``●`` on, ``·`` off; before a name ``✗``: it blocks, of two hosts on which; ``?``: that hangs on what nobody tells
    of a host; ``~``: it is not the model's.
    """

    def __init__(self, session: IdLabSession) -> None:
        super().__init__()
        self.session = session

    def heading(self, width: int) -> str:
        """The names of the columns."""
        at, two = self._columns(width), self.session.other is not None
        names = ["A host", "B host"] if two else ["host"]
        if two and at.value == _WIDE_VALUE_WIDTH:
            names = [f"{host} {bench.host.name}" for host, bench in self.session.benches.items()]
        head = f"{'':<{at.mark}}{'property':<{at.name}}" + "".join(_cell(name, at.value) for name in names)
        model = _cell("model", at.model) if at.model else ""
        return f"{head}{model}{'guest':<{at.value}}accepted by {'both' if two else 'the host'}"

    def _columns(self, width: int) -> _Columns:
        two, has_model = self.session.other is not None, bool(self.session.bench.setup.model)
        value = _WIDE_VALUE_WIDTH if two and width >= _WIDE else _VALUE_WIDTH
        shows_model = has_model and width >= (_MODEL_BESIDE_TWO if two else _MODEL_BESIDE_ONE)
        return _Columns(4 if two else 2, 20 if two else 24, value, value if shows_model else 0)

    def selected(self) -> Line:
        """The line under the cursor."""
        return self.session.lines[min(self.cursor, len(self.session.lines) - 1)]

    def line_count(self) -> int:
        """See LineView."""
        return len(self.session.lines)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        found, at = self.session.lines[line], self._columns(width)
        mark = self._mark(found, at)
        if isinstance(found, str):
            return [Segment(f"{mark}{found}" if mark.strip() else found, self.style_of("heading"))]
        if isinstance(found, Toggle):
            values = [found.host] if found.second is None else [found.host, found.second]
            hosts = "".join(_cell(_dot(on=value), at.value) for value in values)
            text = f"{mark}{_cell(found.name, at.name)}{hosts}{'':<{at.model}}{_dot(on=found.guest)}"
            return [Segment(text, self.style_of("changed") if mark.strip() else None)]
        return self._property(found, mark, at)

    def _mark(self, line: Line, at: _Columns) -> str:
        blocked, open_on = self.session.blocked_by(line), self.session.hangs_on(line)
        sign, hosts = ("✗", blocked) if blocked else ("?", open_on) if open_on else ("", "")
        if not sign and isinstance(line, PropertyRow) and line.guest != line.model:
            sign = "~"
        return f"{sign}{hosts if at.mark > 2 else ''}".ljust(at.mark)

    def _property(self, row: PropertyRow, mark: str, at: _Columns) -> list[Segment]:
        changed = self.style_of("changed") if mark[0] in "✗~" else None
        segments = [Segment(f"{mark}{_cell(row.name, at.name)}", changed)]
        blocked = self.session.blocked_by(row)
        for host in self.session.benches:
            there = self.session.row_on(host, row)
            is_odd = host in blocked or (changed is not None and len(self.session.benches) == 1)
            text = _cell(there.host if there is not None else "-", at.value)
            segments.append(Segment(text, self.style_of("changed") if is_odd else None))
        model = _cell(row.model, at.model) if at.model else ""
        segments.append(Segment(f"{model}{_cell(row.guest, at.value)}", changed))
        for value in self.session.accepted(row):
            chosen = value == row.guest
            text = f"[{value}]" if chosen else f" {value} "
            segments.append(Segment(text, None if chosen else self.style_of("quiet")))
        return segments


def _dot(*, on: bool) -> str:
    return "●" if on else "·"


def _cell(text: str, width: int) -> str:
    return f"{fitted(text, width - 1):<{width}}"
