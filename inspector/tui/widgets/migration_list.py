"""A migration line by line: the calls, the bits by who decided, what to change, what is lost."""

from __future__ import annotations

from rich.segment import Segment

from inspector.export.words import counted
from inspector.tui.migration_picture import BitRow, CallRow, LostRow, Part, RemedyRow
from inspector.tui.migration_session import Heading, Line, MigrationSession, Words
from inspector.tui.widgets.line_view import LineView, fitted

_NAME, _PLACE, _VALUES, _CALL, _PART, _ANSWER = 18, 25, 7, 34, 32, 12


class MigrationList(LineView):
    """``✓`` accepted, ``✗`` in the way, ``~`` warned of; of a bit ``●``: the guest's state shows that it is in use."""

    def __init__(self, session: MigrationSession) -> None:
        super().__init__()
        self.session = session

    def selected(self) -> Line:
        """The line under the cursor."""
        return self.session.lines[min(self.cursor, len(self.session.lines) - 1)]

    def line_count(self) -> int:
        """See LineView."""
        return len(self.session.lines)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        found = self.session.lines[line]
        if isinstance(found, Heading):
            mark = "▸ " if self.session.is_folded(found) else "▾ " if found.group else ""
            return [Segment(f"{mark}{found.text}", self.style_of("heading"))]
        if isinstance(found, CallRow):
            return self._call(found, width)
        if isinstance(found, Part):
            head = f"    {_cell(found.name, _PART)}"
            return [Segment(f"{head}{fitted(found.why, width - len(head))}", self.style_of("changed"))]
        if isinstance(found, BitRow):
            return self._bit(found, width)
        if isinstance(found, RemedyRow):
            return self._remedy(found)
        if isinstance(found, LostRow):
            return [Segment(f"  ≈ {found.text}", self.style_of("changed"))]
        return [Segment(f"  {found.text}", self.style_of("quiet"))] if isinstance(found, Words) else []

    def _call(self, call: CallRow, width: int) -> list[Segment]:
        mark = {True: "✓", False: "✗", None: "~"}[call.held]
        reached = self.session.is_reached(call)
        head = f"  {mark} {_cell(call.name, _CALL)}{_cell(call.answer, _ANSWER)}"
        then = (call.then if reached else "not reached any more") if call.held is False else ""
        style = self.style_of("changed") if call.held is False and reached else None
        quiet = self.style_of("quiet")
        return [Segment(head, style if reached else quiet), Segment(fitted(then, width - len(head)), style or quiet)]

    def _bit(self, bit: BitRow, width: int) -> list[Segment]:
        mark = "✗" if bit.blocks else "?" if not bit.known else "·"
        values = f"{bit.source} → {bit.target}"
        head = f"  {mark} {_cell(bit.name, _NAME)}{_cell(bit.where, _PLACE)}{values:<{_VALUES}} "
        head += "● " if bit.in_use else "  "
        style = self.style_of("changed") if bit.blocks else None
        words = bit.remedies.get(self.session.vmm, "")
        shown = "y: a template" if words.startswith("{") else words.removeprefix("-cpu ...,")
        return [Segment(head, style), Segment(fitted(shown, max(0, width - len(head))), self.style_of("quiet"))]

    def _remedy(self, row: RemedyRow) -> list[Segment]:
        noun = self.session.picture.noun
        without = f"without {'it' if row.without == 1 else 'these ' + counted(row.without, noun)}"
        if row.arrives:
            return [Segment(f"  ✓ {without} the vCPU arrives; y copies the words")]
        left = f"  ✗ {without} this is still in the way: {'; '.join(row.still)}"
        return [Segment(left, self.style_of("changed"))]


def _cell(text: str, width: int) -> str:
    return f"{fitted(text, width - 1):<{width}}"
