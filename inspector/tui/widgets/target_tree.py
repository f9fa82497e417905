"""vCPUs and areas at the left: a list that stays as fast with 10,000 threads as with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment

from inspector.capture.errors import visible
from inspector.tui.widgets.line_view import LineView, fitted

if TYPE_CHECKING:
    from inspector.capture.model import Area
    from inspector.tui.session import Session


class Line(NamedTuple):
    """A vCPU (``area`` None) or one of its areas. vCPU -1 is the process."""

    vcpu: int
    area: Area | None


class TargetTree(LineView):
    """The vCPUs; under the selected one its areas. No line is kept: each follows from its number."""

    session: Session | None = None

    def show(self, session: Session) -> None:
        """Show a session and put the cursor where it is."""
        self.session = session
        self.renewed(self._current_line())

    def _head(self) -> list[Line]:
        """The process and its areas, before the vCPUs."""
        session = self.session
        if session is None or not session.capture.context:
            return []
        lines = [Line(-1, None)]
        if session.vcpu_number < 0:
            lines += [Line(-1, area) for area in session.capture.context]
        return lines

    def _open_areas(self) -> list[Area]:
        session = self.session
        return session.areas() if session and session.vcpu_number >= 0 else []

    def line_count(self) -> int:
        """See LineView."""
        if self.session is None:
            return 0
        return len(self._head()) + len(self.session.capture.vcpus) + len(self._open_areas())

    def line_at(self, number: int) -> Line:
        """What a line stands for."""
        assert self.session is not None
        head = self._head()
        if number < len(head):
            return head[number]
        number -= len(head)
        selected = self.session.vcpu_number
        areas = self._open_areas()
        if selected < 0 or number <= selected:
            return Line(number, None)
        if number <= selected + len(areas):
            return Line(selected, areas[number - selected - 1])
        return Line(number - len(areas), None)

    def line_of_vcpu(self, number: int) -> int:
        """The line of a vCPU (-1: the process)."""
        below = len(self._open_areas()) if self.session and 0 <= self.session.vcpu_number < number else 0
        return 0 if number < 0 else len(self._head()) + number + below

    def _current_line(self) -> int:
        session = self.session
        if session is None:
            return 0
        areas = session.areas()
        nth = areas.index(session.area) + 1 if session.area in areas else 0
        return nth if session.vcpu_number < 0 else len(self._head()) + session.vcpu_number + nth

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        assert self.session is not None
        vcpu, area = self.line_at(line)
        if area is not None:
            mark = "~" if area.data is not area.original else " "
            return [Segment(fitted(f"  {mark}{area.prefix}", width))]
        whole = "process" if self.session.capture.format == "elf-core" else "host"
        name = whole if vcpu < 0 else self.session.capture.vcpus[vcpu].name
        mark = "▾" if vcpu == self.session.vcpu_number else "▸"
        return [Segment(fitted(f"{mark} {visible(name)}", width), self.style_of("heading"))]
