"""The ID-register lab: a host, a model and a guest side by side, every value to try."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.machine.arm64.models.workbench import PropertyRow
from inspector.targets.host_names import completed
from inspector.tui import lab_keys
from inspector.tui.drawn import Drawn
from inspector.tui.id_features import feature_text
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.id_lines import Line, Toggle, name_of
from inspector.tui.id_picture import picture
from inspector.tui.id_text import calls_text, property_text, summary_text
from inspector.tui.key import bindings
from inspector.tui.screens.machine import MachineScreen
from inspector.tui.wanted import BytesWanted, MigrationWanted, OtherLabWanted
from inspector.tui.widgets.drawn_view import DrawnView
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.outcome_pane import OutcomePane
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.property_list import PropertyList

_WIDE_COLUMNS = 120
#: From this height on the picture has a frame; it takes as many lines for most registers, whatever the width.
_HIGH = 30
_PICTURE_LINES, _PICTURE_LINES_BRIEF = 5, 4


class IdLabScreen(MachineScreen):
    """ID registers to play with."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.ID_LAB)
    keys_name = "id lab"
    DEFAULT_CSS = """
    IdLabScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    IdLabScreen #columns { height: 1; text-style: bold; color: $accent; padding: 0 1; }
    IdLabScreen DrawnView { height: auto; padding: 0 1; background: $background; }
    IdLabScreen #body { height: 1fr; layout: vertical; }
    IdLabScreen PropertyList { height: 3fr; padding: 0 1; }
    IdLabScreen OutcomePane { height: 2fr; padding: 0 1; border-top: solid $pane-edge; }
    IdLabScreen.wide #body { layout: horizontal; }
    IdLabScreen.wide PropertyList { height: 1fr; width: 3fr; }
    IdLabScreen.wide OutcomePane { height: 1fr; width: 2fr; border-top: none; border-left: solid $pane-edge; }
    """

    def __init__(self, session: IdLabSession) -> None:
        super().__init__()
        self.session = session

    def lab_session(self) -> IdLabSession:
        """See MachineScreen."""
        return self.session

    def compose(self) -> ComposeResult:
        """Title, properties, outcome."""
        yield Static("", id="title", markup=False)
        yield DrawnView(self._picture, "register")
        yield Static("", id="columns", markup=False)
        with Container(id="body"):
            yield PropertyList(self.session)
            yield OutcomePane()
        yield Prompt()
        yield KeyLine()

    @property
    def properties(self) -> PropertyList:
        """The list."""
        return self.query_one(PropertyList)

    def on_mount(self) -> None:
        """Start at the first switch, with the summary."""
        self.query_one(OutcomePane).border_title = "outcome"
        self.properties.place(1)
        self.set_focus(self.properties)
        self._head(self.app.size.width)
        self.call_after_refresh(self.action_summary)

    def on_resize(self, event: events.Resize) -> None:
        """List and outcome side by side where there is room."""
        self.set_class(event.size.width >= _WIDE_COLUMNS, "wide")
        self._head(event.size.width)

    def _head(self, width: int) -> None:
        self.query_one("#title", Static).update(visible(self.session.title()))
        list_width = width * 3 // 5 if width >= _WIDE_COLUMNS else width
        self.query_one("#columns", Static).update(self.properties.heading(list_width - 2))

    def _picture(self, width: int) -> list[Drawn]:
        """The selected register; as high for most of them, so that the list stays where it is."""
        brief = self.app.size.height < _HIGH
        lines = picture(self.session, self.properties.selected(), width, brief=brief)
        least = _PICTURE_LINES_BRIEF if brief else _PICTURE_LINES
        return lines + [[]] * (least - len(lines))

    def show_all(self) -> None:
        """Everything anew, the cursor where it was."""
        self._show_at(name_of(self.properties.selected()))

    def _show_at(self, name: str) -> None:
        self.properties.resized()
        at = self.session.find(name)
        self.properties.place(self.properties.cursor if at is None else at)
        self._head(self.app.size.width)
        self.show_line()

    def show_line(self) -> None:
        """What the selected line says, and its register."""
        self.query_one(DrawnView).resized()
        pane = self.query_one(OutcomePane)
        line = self.properties.selected()
        if isinstance(line, PropertyRow):
            pane.tell(property_text(self.session, line, pane.text_width))
        else:
            pane.tell(summary_text(self.session, pane.text_width))

    def on_line_view_moved(self) -> None:
        """The outcome follows the cursor."""
        self.show_line()

    def on_line_view_chosen(self) -> None:
        """A second click: type a value."""
        self.action_ask()

    def _try(self, change: Callable[[Line], str]) -> None:
        """A change on the selected line."""
        line = self.properties.selected()
        wrong = change(line)
        self.tell(wrong)
        if not wrong:
            self._show_at(name_of(line))

    def action_value(self, by: int) -> None:
        """The next of all named values, accepted or not."""
        self._try(lambda line: self.session.step(line, by))

    def action_accepted(self) -> None:
        """The next value that the host accepts; a switch or a length on or off."""
        self._try(self.session.accept)

    def action_blocker(self) -> None:
        """To the next property that blocks."""
        at = self.session.next_blocked(self.properties.cursor)
        if at is None:
            self.tell("nothing blocks")
        else:
            self.properties.place(at)
            self.show_line()

    def action_calls(self) -> None:
        """What a VMM calls, and the answers."""
        pane = self.query_one(OutcomePane)
        pane.tell(calls_text(self.session, pane.text_width))

    def action_summary(self) -> None:
        """Whether it runs, and what blocks."""
        pane = self.query_one(OutcomePane)
        pane.tell(summary_text(self.session, pane.text_width))

    def action_all(self) -> None:
        """All properties, or only those that can have another value."""
        name = name_of(self.properties.selected())
        self.session.show_all()
        self._show_at(name)

    def action_bytes(self) -> None:
        """The guest's registers in the Inspect screen."""
        line = self.properties.selected()
        path = f"sysreg.{line.register}" if isinstance(line, PropertyRow) else ""
        self.want(BytesWanted(self.session.capture(), path))

    def action_play(self) -> None:
        """Events on the same host."""
        self.want(OtherLabWanted(self.session.world(), self.session.has_command))

    # Lines that are typed

    def action_ask(self) -> None:
        """Type a property's value."""
        line = self.properties.selected()
        if isinstance(line, Toggle):
            value = "on" if line.guest else "off"
        else:
            value = line.guest if isinstance(line, PropertyRow) else ""
        words = f"{name_of(line)}={value}" if value else ""
        self.query_one(Prompt).ask("set", "set (Tab completes):", words, self.session.completed)

    def action_model(self) -> None:
        """Type a model's name."""
        self.query_one(Prompt).ask("model", "model (- for the host's values):", self.session.bench.setup.model)

    def action_second(self) -> None:
        """Type a second host, which is to take the guest too."""
        self._ask_second("second")

    def action_migrate(self) -> None:
        """The migration of the guest, as it is here, to the second host."""
        if self.session.other is None:
            self._ask_second("migrate")
        else:
            from inspector.tui.migrations import session_of_guest

            self.want(MigrationWanted(session_of_guest(self.session)))

    def _ask_second(self, purpose: str) -> None:
        words = "the second host (a host, a file, kvm:; @6.12 its kernel; nothing: none; Tab completes):"
        self.query_one(Prompt).ask(purpose, words, self.session.second_word, lambda text: completed(text, "arm64"))

    def action_abi(self) -> None:
        """SVE through the other of its interfaces."""
        wrong = self.session.step_abi()
        self.done(wrong)
        if not wrong:
            self.action_calls()

    def action_search(self) -> None:
        """Type part of a name, or a feature's."""
        self.query_one(Prompt).ask("search", "/", self.session.search_text, self.session.features_completed)

    def action_again(self, by: int) -> None:
        """To the next match of what was searched, or the one before; where nothing was, ask."""
        if self.session.search_text:
            self.tell(self._find(self.session.search_text, by))
        else:
            self.action_search()

    def _find(self, text: str, by: int = 1) -> str:
        at, feature = self.session.search(text, self.properties.cursor, by), self.session.feature(text)
        if at is None and not feature:
            return f"{text}: nothing has it; a shows all properties"
        if at is not None:
            self.properties.place(at)
            self.show_line()
        if feature:
            pane = self.query_one(OutcomePane)
            pane.tell(feature_text(self.session, feature, pane.text_width))
        return ""

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Do it; a typing error keeps the line open."""
        prompt, text = self.query_one(Prompt), event.text.strip()
        line = self.properties.selected()
        wrong = self._submitted(event.purpose, text, line)
        if wrong and event.purpose in ("set", "second", "migrate"):
            prompt.refuse(wrong)
        elif wrong:
            prompt.give_up(wrong)
        else:
            prompt.close()
            if event.purpose != "search":
                self._show_at(name_of(line))
            if event.purpose in ("model", "second"):
                self.action_summary()
            if event.purpose == "migrate" and text:
                self.action_migrate()

    def _submitted(self, purpose: str, text: str, line: Line) -> str:
        """Do what was typed for; what is wrong with it."""
        if purpose == "search":
            return self._find(text) if text else ""
        if purpose == "model":
            return self.session.choose(text)
        if purpose in ("second", "migrate"):
            return self.session.choose_second(text)
        return self.session.set_on(line, text)

    def on_prompt_closed(self) -> None:
        """Back to the list."""
        self.set_focus(self.properties)
