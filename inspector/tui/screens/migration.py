"""The Migration screen: would this vCPU arrive, where does it fail, which bit, who decided, what to change."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.tui import migration_keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.key import bindings
from inspector.tui.migration_session import MigrationSession
from inspector.tui.migration_text import VERDICTS, line_text
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView
from inspector.tui.widgets.migration_list import MigrationList
from inspector.tui.widgets.outcome_pane import OutcomePane
from inspector.tui.widgets.prompt import Prompt

_WIDE_COLUMNS = 120


class MigrationScreen(KeyedScreen):
    """A move of a vCPU, to ask about."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(migration_keys.MIGRATION)
    keys_name = "migration"
    DEFAULT_CSS = """
    MigrationScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    MigrationScreen #verdict { height: auto; max-height: 2; text-style: bold; padding: 0 1; }
    MigrationScreen #verdict.refused, MigrationScreen #verdict.lossy { color: $line-changed; }
    MigrationScreen #body { height: 1fr; layout: vertical; }
    MigrationScreen MigrationList { height: 3fr; padding: 0 1; }
    MigrationScreen OutcomePane { height: 2fr; padding: 0 1; border-top: solid $pane-edge; }
    MigrationScreen.wide #body { layout: horizontal; }
    MigrationScreen.wide MigrationList { height: 1fr; width: 3fr; }
    MigrationScreen.wide OutcomePane { height: 1fr; width: 2fr; border-top: none; border-left: solid $pane-edge; }
    """

    def __init__(self, session: MigrationSession) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        """Both ends, the verdict, the lines, the selected one."""
        yield Static("", id="title", markup=False)
        yield Static("", id="verdict", markup=False)
        with Container(id="body"):
            yield MigrationList(self.session)
            yield OutcomePane()
        yield Prompt()
        yield KeyLine()

    @property
    def list(self) -> MigrationList:
        """The lines."""
        return self.query_one(MigrationList)

    def on_mount(self) -> None:
        """Begin where it fails."""
        self.query_one(OutcomePane).border_title = "outcome"
        self.list.place(self.session.start())
        self.set_focus(self.list)
        self._head()
        self.call_after_refresh(self.show_line)

    def on_resize(self, event: events.Resize) -> None:
        """Lines and the selected one side by side where there is room."""
        self.set_class(event.size.width >= _WIDE_COLUMNS, "wide")
        self.call_after_refresh(self.show_line)

    def _head(self) -> None:
        picture = self.session.picture
        words = f"{picture.who} → {picture.where} · {picture.kernel} · {picture.vmm}"
        move = self.session.move
        model = f" · -cpu {move.model}" if move.model else ""
        imp_ids = " · --imp-ids" if move.imp_ids else ""
        self.query_one("#title", Static).update(visible(words + model + imp_ids))
        verdict = self.query_one("#verdict", Static)
        verdict.update(visible(f"{VERDICTS[picture.verdict]} · {picture.because}"))
        verdict.set_classes(picture.verdict)

    def show_line(self) -> None:
        """What the selected line says."""
        pane = self.query_one(OutcomePane)
        pane.tell(line_text(self.session, self.list.selected(), pane.text_width))

    def on_line_view_moved(self) -> None:
        """The pane follows the cursor."""
        self.show_line()

    def on_line_view_chosen(self, _event: LineView.Chosen) -> None:
        """A second click folds."""
        self.action_fold()

    def _done(self, wrong: str, *, line: object = None) -> None:
        """Show what a change came to, or say why there is none."""
        if wrong:
            self.notify(visible(wrong), severity="warning", markup=False, timeout=5)
            return
        self.list.resized()
        self.list.place(self.session.start() if line is None else self.list.cursor)
        self._head()
        self.show_line()

    def action_in_the_way(self, by: int) -> None:
        """To the next line that is in the way."""
        at = self.session.next_in_the_way(self.list.cursor, by)
        if at is None:
            self.notify("nothing is in the way", timeout=2)
        else:
            self.list.move_to(at)

    def action_kernel(self, by: int) -> None:
        """Another kernel of the destination."""
        self._done(self.session.step_kernel(by))

    def action_vmm(self, by: int) -> None:
        """Another VMM."""
        self._done(self.session.step_vmm(by))

    def action_imp_ids(self) -> None:
        """With and without the capability that makes MIDR_EL1 writable."""
        self._done(self.session.toggle_imp_ids())

    def action_undo(self) -> None:
        """Take the last change back."""
        self._done(self.session.undo())

    def action_redo(self) -> None:
        """Make it again."""
        self._done(self.session.redo())

    def action_fold(self) -> None:
        """Fold or unfold what is under the cursor."""
        line = self.list.selected()
        if self.session.fold(line):
            self.list.resized()
            self.list.place(self.session.find(line) or 0)
            self.show_line()

    def action_all(self) -> None:
        """Every bit that differs, or only those in the way."""
        line = self.list.selected()
        self.session.show_all_bits()
        self.list.resized()
        at = self.session.find(line)
        self.list.place(self.list.cursor if at is None else at)
        self.show_line()

    # Lines that are typed

    def action_ask_host(self) -> None:
        """Type another destination."""
        prompt = self.query_one(Prompt)
        words = "migrate to (a host, a file, kvm:; Tab completes):"
        prompt.ask("host", words, self.session.move.destination, self.session.completed)

    def action_ask_model(self) -> None:
        """Type the destination's line."""
        self.query_one(Prompt).ask(
            "model", "-cpu of the destination (empty: the guest's CPUID):", self.session.move.model
        )

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Ask again; a typing error keeps the line open."""
        prompt, text = self.query_one(Prompt), event.text.strip()
        if event.purpose == "host" and not text:
            prompt.close()
            return
        wrong = self.session.go_to_host(text) if event.purpose == "host" else self.session.choose_model(text)
        if wrong:
            prompt.refuse(wrong)
        else:
            prompt.close()
            self._done("")

    def on_prompt_closed(self) -> None:
        """Back to the lines."""
        self.set_focus(self.list)

    # Taking away

    def action_copy(self) -> None:
        """Copy the words that change what is selected."""
        self._copy(self.session.remedy(self.list.selected()), "no words of this VMM take it away")

    def action_copy_command(self) -> None:
        """Copy the command that prints the same."""
        self._copy(self.session.command(), "no command says the same: the capture was edited; save it first (S)")

    def _copy(self, text: str, nothing: str) -> None:
        if not text:
            self.notify(nothing, severity="warning", markup=False, timeout=3)
            return
        self.app.copy_to_clipboard(text)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        self.notify(f"sent to the terminal's clipboard: {shown}", markup=False, timeout=3)
