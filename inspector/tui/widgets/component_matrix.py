"""One line a component: its bit at every level, its place, and what touching it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rich.segment import Segment
from rich.text import Text
from textual.message import Message

from inspector.machine.x86.world.matrix import Bit, ComponentRow
from inspector.machine.x86.world.state import Use
from inspector.tui.widgets.line_view import LineView, fitted
from inspector.tui.xstate_lab_session import XstateLabSession

_NAME_WIDTH = 13
_BIT_WIDTH, _WORD_WIDTH = 6, 7
#: Between levels, where they are side by side.
_GAP = 2


class _Column(NamedTuple):
    """A heading, what is under it (a bit or a word), and what that means."""

    name: str
    of: Callable[[ComponentRow], Bit | str]
    means: str
    width: int = _BIT_WIDTH


class _Group(NamedTuple):
    title: str
    columns: tuple[_Column, ...]

    @property
    def width(self) -> int:
        """Of all columns."""
        return sum(column.width for column in self.columns)


_USES: dict[Use, Bit | str] = {"no": False, "initial": "○", "yes": True}
_HOST = _Group(
    "host's Linux",
    (
        _Column("host", lambda row: row.kernel, "the host's Linux uses it"),
        _Column("perm", lambda row: row.permission, "the process may use it (ARCH_REQ_XCOMP_PERM)"),
        _Column("gperm", lambda row: row.guest_permission, "its guests may use it (ARCH_REQ_XCOMP_GUEST_PERM)"),
    ),
)
_VCPU = _Group(
    "vCPU",
    (
        _Column("CPUID", lambda row: row.cpuid, "the vCPU's CPUID has it (KVM_SET_CPUID2)"),
        _Column("XCR0", lambda row: row.xcr0, "its bit of the guest's XCR0 or XSS is set"),
        _Column("XFD", lambda row: row.xfd, "its bit of the guest's XFD is set: using it is #NM"),
        _Column("use", lambda row: _USES[row.use] if row.use is not None else None, "XINUSE; ○ with initial contents"),
        _Column("BV", lambda row: row.saved, "its bit of XSTATE_BV in the vCPU's buffer"),
        _Column("room", lambda row: row.room, "the vCPU's buffer has room for it"),
    ),
)
_GUEST = _Group(
    "guest's Linux",
    (
        _Column("perm", lambda row: row.task_permission, "the guest's program may use it (ARCH_REQ_XCOMP_PERM)"),
        _Column("room", lambda row: row.task_room, "its task's buffer has room for it"),
    ),
)
_PROCESS_TOUCH = _Column("prog", lambda row: row.process, "an instruction on it in the host's program", _WORD_WIDTH)
_GUEST_TOUCH = _Column("guest", lambda row: row.guest, "an instruction on it in the guest's kernel", _WORD_WIDTH)
_TASK_TOUCH = _Column("task", lambda row: row.task, "an instruction on it in the guest's program", _WORD_WIDTH)
#: At each width what fits: wide has all levels side by side, narrow one or the other.
_WIDE = (_HOST, _VCPU, _GUEST, _Group("touching it gives", (_PROCESS_TOUCH, _GUEST_TOUCH, _TASK_TOUCH)))
_NARROW = (
    (_Group("", (_GUEST_TOUCH._replace(name="touch"),)), _HOST, _VCPU),
    (_Group("", (_TASK_TOUCH._replace(name="touch"), *_GUEST.columns)), _VCPU),
)
WIDE_COLUMNS = 120
_TOUCHES = frozenset(
    column._replace(name=name)
    for column in (_PROCESS_TOUCH, _GUEST_TOUCH, _TASK_TOUCH)
    for name in (column.name, "touch")
)
#: Offset and size; the padding left and right.
_PLACE_WIDTH, _PADDING = 11, 2


class ComponentMatrix(LineView):
    """Bits are ``●`` set, ``·`` clear, blank where the level is not there yet; ``○``: in use with initial contents.

    ``inner``: in a narrow terminal, the guest's Linux instead of the host's.
    """

    class ColumnChosen(Message):
        """The legend explains another column."""

    def __init__(self, session: XstateLabSession) -> None:
        super().__init__()
        self.session = session
        self.inner = False
        #: The column that the legend explains, -1 for none.
        self.chosen = -1

    def choose(self, by: int) -> None:
        """Another column; before the first and behind the last there is none."""
        count = len(self._columns(self.app.size.width))
        self.chosen = (self.chosen + 1 + by) % (count + 1) - 1

    def click_column(self, x: int) -> bool:
        """See LineView: the column that the legend explains."""
        number = self._column_at(x)
        if number in (-1, self.chosen):
            return False
        self.chosen = number
        self.post_message(self.ColumnChosen())
        return True

    def _column_at(self, x: int) -> int:
        """The column that is painted there, -1 for none."""
        groups = self.groups(self.app.size.width)
        left, number = _NAME_WIDTH, 0
        for group in groups:
            for column in group.columns:
                if left <= x < left + column.width:
                    return number
                left, number = left + column.width, number + 1
            left += len(self._gap(groups))
        return -1

    def _columns(self, width: int) -> list[_Column]:
        return [column for group in self.groups(width) for column in group.columns]

    def legend(self, width: int) -> str:
        """What the chosen column says of the selected component; nothing where none is chosen."""
        columns = self._columns(width)
        if not 0 <= self.chosen < len(columns):
            return ""
        column = columns[self.chosen]
        value = column.of(self.row())
        said = "not there yet" if value is None else value if isinstance(value, str) else "yes" if value else "no"
        return f"{self.row().name}: {column.means}: {said}"

    def groups(self, width: int) -> tuple[_Group, ...]:
        """The columns that fit."""
        return _WIDE if width >= WIDE_COLUMNS else _NARROW[int(self.inner)]

    def heading(self, width: int) -> Text:
        """The names of the columns, the chosen one marked; in a wide terminal the levels above them."""
        groups = self.groups(width)
        gap = self._gap(groups)
        text = Text()
        if groups is _WIDE:
            titles = gap.join(f"{self._title(group):<{group.width}}" for group in groups)
            text.append(f"{'':<{_NAME_WIDTH}}{titles}{gap[1:]}image\n")
        text.append(f"{'component':<{_NAME_WIDTH}}")
        number = 0
        for group in groups:
            for column in group.columns:
                name = _cell(column.name, column.width)
                text.append(name.rstrip(), "reverse" if number == self.chosen else "")
                text.append(name[len(name.rstrip()) :])
                number += 1
            text.append(gap if group is not groups[-1] else gap[1:])
        if self._has_place(groups, width):
            text.append(f"{'at':<6}bytes")
        return text

    def _title(self, group: _Group) -> str:
        return f"vCPU {self.session.vcpu_number}" if group is _VCPU else group.title

    @staticmethod
    def _gap(groups: tuple[_Group, ...]) -> str:
        """Between levels that are side by side; one less before the place, so that all fit in 120 columns."""
        return " " * (_GAP if groups is _WIDE else 0)

    def _has_place(self, groups: tuple[_Group, ...], width: int) -> bool:
        used = _NAME_WIDTH + sum(group.width for group in groups) + max(0, len(groups) * len(self._gap(groups)) - 1)
        return width >= used + _PLACE_WIDTH + _PADDING

    def row(self) -> ComponentRow:
        """The selected component."""
        return self.session.rows[min(self.cursor, len(self.session.rows) - 1)]

    def line_count(self) -> int:
        """See LineView."""
        return len(self.session.rows)

    def get_content_height(self, *_: object) -> int:
        """A line a component."""
        return len(self.session.rows)

    def paint(self, line: int, width: int) -> list[Segment]:  # noqa: ARG002
        """See LineView."""
        row = self.session.rows[line]
        groups = self.groups(self.app.size.width)
        segments = [Segment(f"{row.number:>2} {fitted(row.name, _NAME_WIDTH - 4):<{_NAME_WIDTH - 3}}")]
        gap = self._gap(groups)
        for group in groups:
            for column in group.columns:
                value = column.of(row)
                if self.session.world.is_down:
                    # Nothing runs any more: what was is no answer to what an instruction gives.
                    bit = " " if value is None else value if isinstance(value, str) else "●" if value else "·"
                    gone = "down" if column in _TOUCHES else bit
                    segments.append(Segment(_cell(gone, column.width), self.style_of("quiet")))
                elif isinstance(value, str):
                    refused = value.startswith(("#", "SIG"))
                    segments.append(Segment(_cell(value, column.width), self.style_of("changed") if refused else None))
                else:
                    segments.append(Segment(_cell(" " if value is None else "●" if value else "·", column.width)))
            segments.append(Segment(gap if group is not groups[-1] else gap[1:]))
        if self._has_place(groups, self.app.size.width):
            at = "-" if row.supervisor else str(row.offset)
            segments.append(Segment(f"{at:<6}{row.size_bytes}", self.style_of("quiet")))
        return segments


def _cell(text: str, width: int) -> str:
    return f"{fitted(text, width - 1):<{width}}"
