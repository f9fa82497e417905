"""One line a feature: whether the host can give it, the vCPU has it, the guest is shown it, and what using it gives."""

from __future__ import annotations

from rich.segment import Segment

from inspector.machine.arm64.world.matrix import FeatureRow
from inspector.tui.arm64_lab_session import Arm64LabSession
from inspector.tui.widgets.line_view import LineView, fitted

_DOTS = {True: "●", False: "·", None: ""}
_NAME_WIDTH, _BIT_WIDTH, _FIELD_WIDTH = 10, 6, 34


class FeatureMatrix(LineView):
    """Bits are ``●`` yes, ``·`` no, blank where there is no vCPU yet."""

    def __init__(self, session: Arm64LabSession) -> None:
        super().__init__()
        self.session = session

    @staticmethod
    def heading() -> str:
        """The names of the columns."""
        bits = "".join(f"{name:<{_BIT_WIDTH}}" for name in ("host", "vCPU"))
        return f"{'feature':<{_NAME_WIDTH}}{bits}{'the guest is shown':<{_FIELD_WIDTH}}using it gives"

    def row(self) -> FeatureRow:
        """The selected one."""
        return self.session.rows[self.cursor]

    def line_count(self) -> int:
        """See LineView."""
        return len(self.session.rows)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        row = self.session.rows[line]
        register, field = row.feature.field
        shown = f"{register}.{field} {'-' if row.shown is None else f'{row.shown:#x}'}"
        bits = "".join(f"{_DOTS[bit]:<{_BIT_WIDTH}}" for bit in (row.host, row.vcpu))
        touch = row.touch
        word = "" if touch is None else f"{row.feature.instruction}: {touch.name}"
        left = _NAME_WIDTH + 2 * _BIT_WIDTH + _FIELD_WIDTH
        return [
            Segment(f"{fitted(row.feature.name, _NAME_WIDTH - 1):<{_NAME_WIDTH}}{bits}"),
            Segment(f"{fitted(shown, _FIELD_WIDTH - 1):<{_FIELD_WIDTH}}", self.style_of("quiet")),
            Segment(
                fitted(word, max(1, width - left)),
                None if touch is None or touch.accepted else self.style_of("changed"),
            ),
        ]
