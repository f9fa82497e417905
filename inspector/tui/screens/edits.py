"""The edits of a capture in a list: go to one, copy them as a command."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.export.words import counted
from inspector.tui import keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.edits import EditedField
from inspector.tui.key import bindings
from inspector.tui.session import Session
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView, fitted
from inspector.tui.widgets.text_pane import TextPane


class EditsView(LineView):
    """One line an edited field: its vCPU where there are several, before, after, and the bits that differ."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.fields = session.edited_fields()

    def line_count(self) -> int:
        """See LineView."""
        return max(1, len(self.fields))

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        if not self.fields:
            return [Segment("no edits", self.style_of("quiet"))]
        field, wide = self.fields[line], min(40, width // 2)
        owner = f"{self.session.name_of(field.vcpu)}  " if len(self.session.capture.vcpus) > 1 else ""
        path = f"{fitted(owner + field.path, wide - 1):<{wide}}"
        return [Segment(path), Segment(fitted(field.words(), width - wide), self.style_of("changed"))]

    def field(self) -> EditedField | None:
        """The selected one."""
        return self.fields[min(self.cursor, len(self.fields) - 1)] if self.fields else None


class AboutEdit(TextPane):
    """The selected edit, whole."""

    wraps = True


class EditsScreen(KeyedScreen):
    """What has been edited. The edits stay with the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.EDITS)
    keys_name = "edits"
    DEFAULT_CSS = """
    EditsScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    EditsScreen EditsView { height: 1fr; padding: 0 0 0 1; }
    EditsScreen AboutEdit { height: 1fr; padding: 0 1; border-top: solid $pane-edge; }
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        """Title and list."""
        view = EditsView(self.session)
        count = len(view.fields)
        words = f"{counted(count, 'edited field')} · {self.session.capture.target}: file untouched"
        yield Static(visible(words), id="title", markup=False)
        yield view
        yield AboutEdit()
        yield KeyLine()

    def on_mount(self) -> None:
        """Tell of the first."""
        self.query_one(AboutEdit).border_title = "the edit"
        self._tell()

    @on(LineView.Moved)
    def _tell(self) -> None:
        field = self.query_one(EditsView).field()
        self.query_one(AboutEdit).tell(Text("\n".join([field.path, *field.lines()]) if field is not None else ""))

    @on(LineView.Chosen)
    def _chosen(self) -> None:
        self.action_field()

    def action_field(self) -> None:
        """Back, to the selected field."""
        field = self.query_one(EditsView).field()
        if field is not None:
            self.session.select_vcpu(field.vcpu)
            self.session.jump(field.path)
        self.dismiss()

    def action_copy(self) -> None:
        """Copy the commands that make the edits."""
        command = self.session.set_commands()
        if command:
            self.app.copy_to_clipboard(command)
            self.notify(f"sent to the terminal's clipboard: {command}", markup=False, timeout=3)
