"""The Findings screen: what lint finds in a capture, and the way to the fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from inspector.capture.bug import told
from inspector.capture.errors import visible
from inspector.capture.model import Capture
from inspector.export.lint import counts_text
from inspector.lint.findings import Finding
from inspector.tui import keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.findings import all_findings
from inspector.tui.key import bindings
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView, fitted

#: The path's column: a third of the screen, and no wider than paths are.
_WIDEST_PATH = 40


class FindingList(LineView):
    """One line a finding: code, severity, where, what."""

    def __init__(self, found: Sequence[Finding]) -> None:
        super().__init__()
        self.found = found

    def line_count(self) -> int:
        """See LineView."""
        return len(self.found)

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        finding = self.found[line]
        rule = finding.rule
        where = "" if finding.vcpu is None else f"#{finding.vcpu}"
        style = {"error": self.style_of("changed"), "note": self.style_of("quiet")}.get(rule.severity)
        wide = min(_WIDEST_PATH, width // 3)
        head = f"{rule.code} {rule.severity:<7} {where:>3} {fitted(finding.path, wide - 1):<{wide}}"
        return [Segment(head, style), Segment(fitted(rule.title, width - len(head)), style)]


class FindingsScreen(KeyedScreen):
    """Findings of one capture. ``go`` shows the field of one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.FINDINGS)
    keys_name = "findings"
    DEFAULT_CSS = """
    FindingsScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    FindingsScreen FindingList { height: auto; max-height: 50%; padding: 0 0 0 1; }
    FindingsScreen #about { height: 1fr; padding: 0 1; border-top: solid $pane-edge; }
    """

    def __init__(self, capture: Capture, go: Callable[[Finding], None]) -> None:
        super().__init__()
        self.go = go
        self.found: Sequence[Finding] = ()
        try:
            self.found = all_findings(capture)
            self.heading = f"{capture.target} · {counts_text(self.found)}"
        except Exception as error:  # noqa: BLE001 - told of instead of the list
            self.heading = str(told(error))

    def compose(self) -> ComposeResult:
        """Title, the list, everything about the selected one."""
        yield Static(visible(self.heading), id="title", markup=False)
        yield FindingList(self.found)
        with VerticalScroll(id="about", can_focus=False):
            yield Static("", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """The first one is selected."""
        self.query_one(FindingList).resized()
        self.query_one("#about").border_title = "the finding"
        self.on_line_view_moved()

    def on_line_view_moved(self) -> None:
        """What the line has no room for."""
        finding = self._selected()
        if finding is not None:
            self.query_one("#about Static", Static).update(_about(finding))

    def _selected(self) -> Finding | None:
        return self.found[self.query_one(FindingList).cursor] if self.found else None

    def action_go(self) -> None:
        """Back, to the field."""
        finding = self._selected()
        if finding is not None:
            self.dismiss()
            self.go(finding)

    def on_line_view_chosen(self) -> None:
        """A second click."""
        self.action_go()


def _about(finding: Finding) -> Text:
    rule = finding.rule
    text = Text(f"{visible(finding.path)}\n", "bold")
    text.append(f"{visible(finding.evidence)}\n\n{rule.about}\n")
    for head, words in (("then", rule.happens), ("do", finding.remedy), ("from", rule.source)):
        text.append(f"{head}: ", "bold").append(f"{visible(words)}\n")
    return text
