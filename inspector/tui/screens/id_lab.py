"""The ID-register lab: a host, a model and a guest side by side, every value to try."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer, Static

from inspector.capture.errors import visible
from inspector.capture.model import Capture
from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from inspector.tui.base_app import MachineScreen
from inspector.tui.id_text import calls_text, property_text, summary_text
from inspector.tui.widgets.outcome_pane import OutcomePane
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.property_list import PropertyList, Toggle, name_of

_WIDE_COLUMNS = 120


class IdLabScreen(MachineScreen):
    """ID registers to play with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,plus", "value(1)", "Try", id="idlab.next", key_display="→"),
        Binding("left,minus", "value(-1)", "Try the previous", show=False, id="idlab.previous", key_display="←"),
        Binding("space", "accepted", "Next", id="idlab.toggle"),
        Binding("colon,enter", "ask", "Set", id="idlab.ask", key_display=":"),
        Binding("u", "undo", "Undo", id="idlab.undo"),
        Binding("m", "model", "Model", id="idlab.model"),
        Binding("b", "blocker", "Blocker", id="idlab.blocker"),
        Binding("w", "calls", "Calls", id="idlab.calls"),
        Binding("o", "bytes", "Bytes", id="idlab.bytes"),
        Binding("slash", "search", "Search", show=False, id="idlab.search", key_display="/"),
        Binding("n", "again", "Search again", show=False, id="idlab.again"),
        Binding("a", "all", "All properties", show=False, id="idlab.all"),
        Binding("i", "summary", "Summary", show=False, id="idlab.summary"),
        Binding("y", "yank", "Copy command", show=False, id="idlab.yank"),
        Binding("S", "save", "Save as capture", show=False, id="idlab.save"),
        Binding("escape", "back", "Back", show=False, id="idlab.back"),
    ]
    DEFAULT_CSS = """
    IdLabScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    IdLabScreen #columns { height: 1; text-style: bold; color: $accent; padding: 0 1; }
    IdLabScreen #body { height: 1fr; layout: vertical; }
    IdLabScreen PropertyList { height: 3fr; padding: 0 1; }
    IdLabScreen OutcomePane { height: 2fr; padding: 0 1; border-top: solid $primary; }
    IdLabScreen.wide #body { layout: horizontal; }
    IdLabScreen.wide PropertyList { height: 1fr; width: 3fr; }
    IdLabScreen.wide OutcomePane { height: 1fr; width: 2fr; border-top: none; border-left: solid $primary; }
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self.bench = bench
        self.searched = ""

    def compose(self) -> ComposeResult:
        """Title, properties, outcome."""
        yield Static("", id="title", markup=False)
        yield Static("", id="columns", markup=False)
        with Container(id="body"):
            yield PropertyList(self.bench)
            yield OutcomePane()
        yield Prompt()
        yield Footer(compact=True, show_command_palette=False)

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
        bench = self.bench
        verdict = bench.verdict.removeprefix("not usable, ")
        words = [bench.setup.model or "-cpu host", bench.host.name, bench.host.kernel.title, verdict]
        self.query_one("#title", Static).update(visible(" · ".join(words)))
        list_width = width * 3 // 5 if width >= _WIDE_COLUMNS else width
        self.query_one("#columns", Static).update(self.properties.heading(list_width - 2))

    def show_bench(self) -> None:
        """Everything anew, the cursor where it was."""
        name = name_of(self.properties.selected())
        self.properties.resized()
        at = self.properties.find(name)
        if at is not None:
            self.properties.place(at)
        self._head(self.app.size.width)
        self.show_line()

    def show_line(self) -> None:
        """What the selected line says."""
        pane = self.query_one(OutcomePane)
        line = self.properties.selected()
        if isinstance(line, PropertyRow):
            pane.tell(property_text(self.bench, line, pane.text_width))
        else:
            pane.tell(summary_text(self.bench, pane.text_width))

    def on_line_view_moved(self) -> None:
        """The outcome follows the cursor."""
        self.show_line()

    def change(self, word: str) -> str:
        """Set a property; what is wrong with it, or nothing."""
        try:
            self.bench.set(word)
        except ValueError as error:
            return str(error)
        self.show_bench()
        return ""

    def action_value(self, by: int) -> None:
        """The next of all named values, accepted or not."""
        line = self.properties.selected()
        if isinstance(line, PropertyRow):
            self._step([choice.text for choice in line.accepted.choices], line, by)
        else:
            self.action_accepted()

    def action_accepted(self) -> None:
        """The next value that the host accepts; a switch or a length on or off."""
        line = self.properties.selected()
        if isinstance(line, PropertyRow):
            self._step(list(line.accepted.values), line, 1)
        elif isinstance(line, Toggle):
            self.change(f"{line.name}={'off' if line.guest else 'on'}")

    def _step(self, values: list[str], row: PropertyRow, by: int) -> None:
        if not values or values == [row.guest]:
            self.tell(f"{row.name}: this host accepts no other value; → tries one nevertheless")
            return
        at = values.index(row.guest) + by if row.guest in values else 0
        self.tell(self.change(f"{row.name}={values[at % len(values)]}"))

    def action_undo(self) -> None:
        """Take the last change back."""
        if self.bench.undo():
            self.show_bench()
        else:
            self.tell("nothing to undo")

    def action_blocker(self) -> None:
        """To the next property that blocks."""
        at = self.properties.next_blocked(self.properties.cursor)
        if at is None:
            self.tell("nothing blocks")
        else:
            self.properties.move_to(at)
            self.show_line()

    def action_calls(self) -> None:
        """What a VMM calls, and the answers."""
        pane = self.query_one(OutcomePane)
        pane.tell(calls_text(self.bench, pane.text_width))

    def action_summary(self) -> None:
        """Whether it runs, and what blocks."""
        pane = self.query_one(OutcomePane)
        pane.tell(summary_text(self.bench, pane.text_width))

    def action_all(self) -> None:
        """All properties, or only those that can have another value."""
        self.properties.settable = not self.properties.settable
        self.show_bench()

    def command(self) -> str:
        """The command that shows the same."""
        setup = self.bench.setup
        words = [
            setup.model or "host",
            *setup.words,
            "--host",
            f"{self.bench.host.name}@{self.bench.host.kernel.release}",
        ]
        return f"inspector models check {' '.join(words)}"

    def action_yank(self) -> None:
        """Copy the command."""
        self.app.copy_to_clipboard(self.command())
        self.notify(f"copied: {self.command()}", markup=False)

    def action_bytes(self) -> None:
        """The guest's registers in the Inspect screen."""
        from inspector.tui.screens.simulated import SimulatedScreen

        line = self.properties.selected()
        path = f"sysreg.{line.register}" if isinstance(line, PropertyRow) else ""
        self.app.push_screen(SimulatedScreen(self._capture(), path))

    def _capture(self) -> Capture:
        from inspector.targets.models import capture_of_bench

        return capture_of_bench(self.bench)

    def action_save(self) -> None:
        """Write the guest's registers as a capture file."""
        self.save_capture(f"{self.bench.setup.model or 'host'}.vcpu", self._capture())

    def help_screen(self) -> Screen[None]:
        """See KeyedScreen."""
        from inspector.tui.screens.id_lab_help import IdLabHelpScreen

        return IdLabHelpScreen()

    # Lines that are typed

    def action_ask(self) -> None:
        """Type a property's value."""
        line = self.properties.selected()
        if isinstance(line, Toggle):
            value = "on" if line.guest else "off"
        else:
            value = line.guest if isinstance(line, PropertyRow) else ""
        self.query_one(Prompt).ask("set", "set:", f"{name_of(line)}={value}" if value else "")

    def action_model(self) -> None:
        """Type a model's name."""
        self.query_one(Prompt).ask("model", "model (- for the host's values):", self.bench.setup.model)

    def action_search(self) -> None:
        """Type part of a name."""
        self.query_one(Prompt).ask("search", "/", self.searched)

    def action_again(self) -> None:
        """To the next that was searched."""
        if self.searched:
            self._find()

    def _find(self) -> str:
        at = self.properties.search(self.searched, self.properties.cursor)
        if at is None:
            return f"{self.searched}: nothing has it; a shows all properties"
        self.properties.move_to(at)
        self.show_line()
        return ""

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Do it; a typing error keeps the line open."""
        prompt, text = self.query_one(Prompt), event.text.strip()
        if event.purpose == "search":
            self.searched = text
            wrong = self._find() if text else ""
        elif event.purpose == "model":
            wrong = self._choose("" if text in ("-", "host") else text)
        else:
            # A value alone is one for the selected line.
            name = name_of(self.properties.selected())
            wrong = self.change(text if "=" in text or not name else f"{name}={text}")
        if wrong and event.purpose == "set":
            prompt.refuse(wrong)
        elif wrong:
            prompt.give_up(wrong)
        else:
            prompt.close()

    def _choose(self, model: str) -> str:
        try:
            self.bench.choose(model)
        except ValueError as error:
            return str(error)
        self.show_bench()
        self.action_summary()
        return ""

    def on_prompt_closed(self) -> None:
        """Back to the list."""
        self.set_focus(self.properties)
