"""The Fleet screen: thousands of hosts and guests, who can move where, and why not."""

from __future__ import annotations

from threading import Thread
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from inspector.capture.bug import told
from inspector.capture.errors import visible
from inspector.tui import fleet_keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.fleet_asker import FORECAST
from inspector.tui.fleet_moves import move_of
from inspector.tui.fleet_session import FleetSession
from inspector.tui.fleet_text import progress_text, said_text, title_text
from inspector.tui.fleet_view import PairWanted, View
from inspector.tui.fleet_views import VIEWS
from inspector.tui.key import bindings
from inspector.tui.migration_session import MigrationSession
from inspector.tui.wanted import MigrationWanted
from inspector.tui.widgets.fleet_list import FleetList
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.text_pane import TextPane

_WIDE_COLUMNS = 120
_LOOK_SECONDS = 0.1
#: Keys that are letters or signs: while one types they are not keys.
_NOT_TYPING = ("view", "ask", "search", "copy")


class SaidPane(TextPane):
    """Everything about the selected line, in lines that are as wide as it is."""


class FleetScreen(KeyedScreen):
    """A view of a store. What Enter opens is a screen above this one, on the same session."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(fleet_keys.FLEET)
    keys_name = "fleet"
    DEFAULT_CSS = """
    FleetScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    FleetScreen #progress { height: 1; padding: 0 1; color: $line-heading; text-wrap: nowrap; }
    FleetScreen #body { height: 1fr; layout: vertical; }
    FleetScreen FleetList { height: 3fr; padding: 0 1; }
    FleetScreen SaidPane { height: 2fr; padding: 0 1; border-top: solid $pane-edge; }
    FleetScreen.wide #body { layout: horizontal; }
    FleetScreen.wide FleetList { height: 1fr; width: 1fr; }
    FleetScreen.wide SaidPane { height: 1fr; width: 1fr; border-top: none; border-left: solid $pane-edge; }
    """

    class Asked(Message):
        """A move was asked about; or why it cannot be."""

        def __init__(self, found: MigrationSession | str) -> None:
            super().__init__()
            self.found = found

    def __init__(self, session: FleetSession, view: View | None = None) -> None:
        super().__init__()
        self.session = session
        self._is_first = view is None
        self.view = view or VIEWS[next(iter(VIEWS))](session)
        self._search = ""
        self._searched_from = 0
        self._version = -1
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """What is shown, how far the work is, the lines, the selected one."""
        yield Static("", id="title", markup=False)
        yield Static("", id="progress", markup=False)
        with Container(id="body"):
            yield FleetList(self.view)
            yield SaidPane()
        yield Prompt()
        yield KeyLine()

    @property
    def list(self) -> FleetList:
        """The lines."""
        return self.query_one(FleetList)

    @property
    def is_ready(self) -> bool:
        """Everything that was asked is answered."""
        return self.is_mounted and not self.session.is_busy and self._version == self.session.version

    def on_mount(self) -> None:
        """Begin to work behind the first frame."""
        self._timer = self.set_interval(_LOOK_SECONDS, self._look)
        self.set_focus(self.list)
        self._show(self.view)
        self._work()

    def on_unmount(self) -> None:
        """Nobody waits for answers."""
        if self._is_first:
            self.session.close()

    def on_screen_resume(self) -> None:
        """What was answered meanwhile is shown."""
        self._work()

    def on_resize(self, event: events.Resize) -> None:
        """The list and the selected line side by side where there is room."""
        self.set_class(event.size.width >= _WIDE_COLUMNS, "wide")
        self.call_after_refresh(self.show_line)

    # The work behind the screen

    def _work(self) -> None:
        self.session.start()
        if self._timer is not None:
            self._timer.resume()
        self._look()

    def _look(self) -> None:
        """Show what came, as long as something is worked on."""
        progress, version = self.session.progress, self.session.version
        bar = self.query_one("#progress", Static)
        bar.display = progress is not None
        if progress is not None:
            bar.update(progress_text(progress))
        if version != self._version:
            self._version = version
            self._follow()
        if progress is None and self._timer is not None:
            self._timer.pause()

    def _follow(self) -> None:
        """The view's lines are others now."""
        was, count = self.list.cursor, self.view.count
        self.view.follow()
        self.list.resized()
        is_new = self.view.count != count
        self.list.place(self.view.first() if is_new and was <= 1 else was)
        self._head()
        self.show_line()

    def _show(self, view: View) -> None:
        """Another view, from its beginning."""
        self.view = self.list.view = view
        self._search = ""
        self.list.resized()
        self.list.place(view.first())
        self._head()
        self.call_after_refresh(self.show_line)

    def _head(self) -> None:
        self.query_one("#title", Static).update(title_text(self.session, self.view.title))

    def show_line(self) -> None:
        """What the selected line says."""
        pane = self.query_one(SaidPane)
        pane.tell(said_text(self.view.said(self.list.cursor), pane.text_width))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed the line of keys offers nothing else."""
        return super().check_action(action, parameters) and not (action in _NOT_TYPING and self._is_typing())

    def _is_typing(self) -> bool:
        return self.focused is not None and self.focused.id == "prompt-input"

    def on_line_view_moved(self) -> None:
        """The pane follows the cursor."""
        self.show_line()

    def on_line_view_chosen(self) -> None:
        """A second click goes in."""
        self.action_enter()

    # Going in

    def action_view(self, name: str) -> None:
        """Another question; the same again where it could not be answered."""
        if self.view.name != name:
            self._show(VIEWS[name](self.session))
        self.session.ask(name, again=True)
        self._work()

    def action_enter(self) -> None:
        """Into the selected line."""
        found = self.view.enter(self.list.cursor)
        if isinstance(found, View):
            self.app.push_screen(FleetScreen(self.session, found))
        elif found is not None:
            self.notify("asking for this move", timeout=2)
            Thread(target=self._ask_move, args=(found,), name="move", daemon=True).start()
        else:
            self.notify("there is nothing in it", timeout=2)

    def _ask_move(self, pair: PairWanted) -> None:
        """Ask for a move, off the screen's thread: its captures are read."""
        try:
            found: MigrationSession | str = move_of(self.session.require_names(), pair)
        except Exception as error:  # noqa: BLE001 - told on screen
            found = str(told(error))
        self.post_message(self.Asked(found))

    def on_fleet_screen_asked(self, event: Asked) -> None:
        """Show the move, if one still looks at where it was asked for."""
        if isinstance(event.found, str):
            self.notify(event.found, severity="warning", markup=False, timeout=8)
        elif self.is_current:
            self.want(MigrationWanted(event.found))

    # Lines that are typed

    def action_search(self) -> None:
        """Search while typing."""
        self._searched_from = self.list.cursor
        self.query_one(Prompt).ask("search", "search:", self._search, live=True)

    def action_ask(self) -> None:
        """Type a forecast's question."""
        upgrade = self.session.upgrade
        before = " ".join([upgrade.kernel, *upgrade.hosts]) if upgrade is not None else ""
        label = "forecast: a kernel, then hosts (Tab completes):"
        self.query_one(Prompt).ask("forecast", label, before, self.session.completed)

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """The list follows what is typed."""
        self._search = event.text
        self._find(self._searched_from, 1)

    def on_prompt_stepped(self, event: Prompt.Stepped) -> None:
        """Up and down go to the next match while one types."""
        self._find(self.list.cursor + event.by, event.by)

    def on_prompt_cancelled(self) -> None:
        """Back to where one was."""
        if self.query_one(Prompt).purpose == "search":
            self._search = ""
            self.list.move_to(self._searched_from)

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Keep the search for n and N; ask for the forecast, or keep the line open for what is wrong."""
        prompt = self.query_one(Prompt)
        if event.purpose == "search":
            prompt.close()
            if self._search and not self._find(self.list.cursor, 1):
                self.notify(f"{self._search}: nothing has it here", severity="warning", markup=False, timeout=3)
            return
        wrong = self.session.ask_forecast(event.text) if event.text.strip() else ""
        if wrong:
            prompt.refuse(wrong)
            return
        prompt.close()
        if event.text.strip():
            self._show(VIEWS[FORECAST](self.session))
            self._work()

    def on_prompt_closed(self) -> None:
        """Back to the lines."""
        self.set_focus(self.list)

    def _find(self, start: int, by: int) -> bool:
        """To the next line that has what is searched for; whether there is one."""
        count = self.view.count
        at = self.view.find(self._search, start % count, by) if self._search and count else None
        if at is not None:
            self.list.move_to(at)
        prompt = self.query_one(Prompt)
        if prompt.is_open:
            prompt.label("search:" if at is not None or not self._search else "search (nothing has it here):")
        return at is not None

    def action_search_next(self) -> None:
        """To the next match."""
        self._again(1)

    def action_search_previous(self) -> None:
        """To the match before."""
        self._again(-1)

    def _again(self, by: int) -> None:
        if not self._search:
            self.notify("search for something first (/)", timeout=2)
        elif not self._find(self.list.cursor + by, by):
            self.notify(f"{self._search}: nothing has it here", markup=False, timeout=2)

    # Taking away

    def action_copy(self) -> None:
        """Copy the name of the selected line."""
        self._copy(self.view.label(self.list.cursor))

    def action_copy_command(self) -> None:
        """Copy the command that prints the same."""
        self._copy(self.view.command(self.list.cursor))

    def _copy(self, text: str) -> None:
        if not text:
            self.notify("there is nothing to copy", severity="warning", timeout=3)
            return
        self.app.copy_to_clipboard(text)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        self.notify(f"sent to the terminal's clipboard: {visible(shown)}", markup=False, timeout=3)
