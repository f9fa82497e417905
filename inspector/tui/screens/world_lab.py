"""What the labs of both architectures have: a matrix, the timeline, the outcome, and events behind a leader."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.targets.place import completions
from inspector.tui.key import Key, Table, keys_of, remapped
from inspector.tui.keys import SCREENS
from inspector.tui.leader import Entry, entries_of
from inspector.tui.screens.against import AgainstScreen
from inspector.tui.screens.machine import MachineScreen
from inspector.tui.screens.timeline import TimelineScreen
from inspector.tui.wanted import BytesWanted
from inspector.tui.widgets.drawn_view import DrawnView
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.leader_panel import LeaderPanel
from inspector.tui.widgets.line_view import LineView
from inspector.tui.widgets.outcome_pane import OutcomePane, left_out_text
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.timeline import Timeline
from inspector.tui.world_session import WorldSession

#: From so many columns on, timeline and outcome are side by side; from so many on both have all that they show there.
WIDE_COLUMNS, _AMPLE_COLUMNS = 120, 180
#: With so many lines they are one above the other where half of the columns is little.
_STACKED_LINES = 23
#: The title, the names of the columns in two lines, the keys.
_FRAME_LINES = 4
_HINT = "events: a letter plays one, Esc closes"


class WorldLabScreen(MachineScreen):
    """A simulated world to play with. Subclasses have the matrix, what is drawn below it, and the events' keys."""

    DEFAULT_CSS = """
    WorldLabScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    WorldLabScreen #columns { height: auto; text-style: bold; color: $accent; padding: 0 1; }
    WorldLabScreen .matrix { height: auto; padding: 0 1; }
    WorldLabScreen .picture { height: auto; padding: 0 1; background: $background; }
    WorldLabScreen #below { height: 1fr; layout: vertical; }
    WorldLabScreen Timeline { height: 2fr; min-height: 2; padding: 0 1; border-top: solid $pane-edge; }
    WorldLabScreen OutcomePane { height: 3fr; padding: 0 1; border-top: solid $pane-edge; }
    WorldLabScreen.wide #below { layout: horizontal; }
    WorldLabScreen.wide Timeline { height: 1fr; width: 1fr; }
    WorldLabScreen.wide OutcomePane { height: 1fr; width: 1fr; border-left: solid $pane-edge; }
    """
    session: WorldSession
    #: The matrix's line to begin with, from its end where it is negative.
    first_row: ClassVar[int] = 0

    def __init__(self, session: WorldSession) -> None:
        super().__init__()
        self.session = session
        self._said: dict[str, str | Text] = {}

    def lab_session(self) -> WorldSession:
        """See MachineScreen."""
        return self.session

    # What a lab has of its own

    @abstractmethod
    def make_matrix(self) -> LineView:
        """What there is to see, a line each."""

    @property
    @abstractmethod
    def matrix(self) -> LineView:
        """The one that was made."""

    def make_pictures(self) -> Iterable[DrawnView]:
        """What is drawn of the selected line."""
        return ()

    @abstractmethod
    def title_words(self) -> list[str]:
        """What the title says, before which vCPU of several it is."""

    @abstractmethod
    def fit(self, width: int, height: int) -> None:
        """What there is room for in a terminal of a size."""

    @abstractmethod
    def show_head(self, width: int) -> None:
        """The names of the columns."""

    @abstractmethod
    def bytes_wanted(self) -> BytesWanted | str:
        """The bytes of what is selected, or why there are none."""

    # The panes

    def compose(self) -> ComposeResult:
        """Title, matrix, pictures, timeline, outcome."""
        yield Static("", id="title", markup=False)
        yield Static("", id="columns", markup=False)
        yield self.make_matrix().add_class("matrix")
        yield from self.make_pictures()
        with Container(id="below"):
            yield Timeline(self.session.world, self.session.to_come)
            yield OutcomePane()
        yield LeaderPanel(self._entries)
        yield Prompt()
        yield KeyLine()

    def on_mount(self) -> None:
        """Start at the matrix."""
        self.query_one(OutcomePane).border_title = "outcome"
        matrix = self.matrix
        matrix.place(self.first_row % matrix.line_count())
        self.set_focus(matrix)
        self.show_all()

    def on_resize(self, event: events.Resize) -> None:
        """Timeline and outcome side by side where there is room, or no other."""
        width, height = event.size
        self.panel.close()
        self.fit(width, height)
        drawn = sum(len(picture.draw(width)) + 1 for picture in self.query(DrawnView) if picture.has_class("picture"))
        below = height - _FRAME_LINES - self.matrix.line_count() - drawn
        self.set_class(width >= _AMPLE_COLUMNS or (width >= WIDE_COLUMNS and below < _STACKED_LINES), "wide")

    def show_title(self) -> None:
        """Where one is."""
        words = [self.session.name, *self.title_words()]
        if self.session.vcpu_count > 1:
            number = self.session.vcpu_number
            words.append(f"vCPU {number} ({number + 1}/{self.session.vcpu_count})")
        self.say("title", visible(" · ".join(words)))

    def say(self, name: str, text: str | Text) -> None:
        """What the title or the columns' names say: painted where it is something else, laid out where it is taller."""
        if self._said.get(name) != text:
            is_as_tall = str(self._said.get(name, text)).count("\n") == str(text).count("\n")
            self._said[name] = text
            self.query_one(f"#{name}", Static).update(text, layout=not is_as_tall)

    def show_all(self) -> None:
        """Everything anew, the last event selected."""
        steps = self.session.world.steps
        self.matrix.resized()
        self.show_title()
        self.show_head(self.app.size.width)
        timeline = self.query_one(Timeline)
        timeline.world = self.session.world
        timeline.resized()
        timeline.place(max(0, len(steps) - 1))
        self.draw()
        self.show_step(len(steps) - 1)

    def draw(self) -> None:
        """The pictures anew, and what is open of the selected line."""
        for picture in self.query(DrawnView):
            if picture.has_class("picture"):
                picture.resized()

    def show_step(self, number: int) -> None:
        """The outcome of an event, or how to begin."""
        steps = self.session.world.steps
        step = steps[number] if number >= 0 else None
        # What comes next is said of what is now.
        offered = self.session.offers() if number == len(steps) - 1 else []
        self.query_one(OutcomePane).show(step, self.session.scenario, self.keys, number + 1, offered)

    def on_line_view_moved(self, event: Timeline.Moved) -> None:
        """The outcome follows the timeline's cursor, the pictures the matrix's."""
        steps = self.session.world.steps
        if isinstance(event.view, Timeline) and event.line < len(steps):
            self.show_step(event.line)
        elif event.view is self.matrix:
            self.draw()
            if self.panel.is_open:
                self.open_panel()

    def on_line_view_chosen(self, event: Timeline.Chosen) -> None:
        """A second click on a line of the matrix: what can be done with it."""
        if event.view is self.matrix:
            self.action_leader()

    # Events behind the leader

    @property
    def panel(self) -> LeaderPanel:
        """What is behind the leader."""
        return self.query_one(LeaderPanel)

    @cached_property
    def _table(self) -> Table:
        return remapped(SCREENS[self.keys_name], self.keymap)

    @cached_property
    def _leaders(self) -> frozenset[str]:
        keys = (key for key, _ in keys_of(self._table) if key.action == "leader")
        return frozenset(one for key in keys for one in key.keys.split(","))

    def _entries(self) -> list[list[Entry]]:
        row, session = self.matrix.cursor, self.session

        def text_of(key: Key) -> str:
            return session.words_of(key.action, key.label, row)

        return entries_of(self._table, text_of, session.row_words(row))

    def action_leader(self) -> None:
        """Open the panel of what is behind the leader; again closes it."""
        if self.panel.is_open:
            self.panel.close()
        else:
            self.open_panel()

    def open_panel(self) -> None:
        """Where it covers no line of the outcome: beside it, or above it where that is as wide as the screen."""
        outcome, (width, height) = self.query_one(OutcomePane).region, self.size
        is_beside = outcome.x > 0
        top = height - 1 if is_beside else outcome.y
        self.panel.open(_HINT, outcome.x if is_beside else width, height - top, max(2, top - 1))

    def led(self, key: events.Key) -> str | None:
        """See KeyedScreen. A letter that is none closes nothing."""
        panel = self.panel
        if not panel.is_open:
            return None
        if both := panel.keys_behind(key.key):
            panel.close()
            return both
        if key.key == "escape":
            panel.close()
            return ""
        if key.is_printable and key.key not in self._leaders:
            panel.refuse(key.character or key.key)
            return ""
        return None

    async def on_leader_panel_clicked(self, event: LeaderPanel.Clicked) -> None:
        """A key of the panel was clicked."""
        self.panel.close()
        await self.app._check_bindings(event.keys)

    # What keys do

    async def press(self, name: str) -> None:
        """The key of an id, where something was clicked that it does."""
        found = next(key.keys for key, _ in keys_of(self._table) if key.id == name)
        await self.app._check_bindings(found.split(",")[0])

    def action_next(self) -> None:
        """The scenario's next event."""
        self.done(self.session.next())

    def action_suggested(self) -> None:
        """The first of the steps that the outcome offers."""
        wrong = self.session.follow()
        self.show_all()
        self.tell(wrong)

    def action_vcpu(self, by: int) -> None:
        """Another vCPU in the matrix, and for the keys."""
        if self.session.vcpu_count > 1:
            self.session.look_at(self.session.vcpu_number + by)
            self.show_all()

    def action_timeline(self) -> None:
        """The events with the whole state before and after."""
        world = self.session.world
        if not world.steps:
            self.tell("nothing has happened yet")
            return
        line = min(self.query_one(Timeline).cursor, len(world.steps) - 1)
        self.app.push_screen(TimelineScreen(world, f"{self.session.name} · timeline", line))

    def action_bytes(self) -> None:
        """The bytes of what is selected in the Inspect screen."""
        wanted = self.bytes_wanted()
        if isinstance(wanted, str):
            self.tell(wanted)
        else:
            self.want(wanted)

    # Lines that are typed

    def action_ask(self) -> None:
        """Type any event."""
        self.query_one(Prompt).ask("event", "event:", self.session.to_come[0] if self.session.to_come else "")

    def _completions(self, text: str) -> list[str]:
        return completions(text, self.session.scenario.architecture)

    def action_elsewhere(self) -> None:
        """Type another host, kernel or policy."""
        self.query_one(Prompt).ask("place", "elsewhere:", self.session.place, self._completions)

    def action_against(self) -> None:
        """Type where the same events are to happen too."""
        self.query_one(Prompt).ask("against", "beside (host= kernel= policy=):", "", self._completions)

    def action_save_events(self) -> None:
        """Write the events as a file: under the machine's name, or with a number where that is taken."""
        text = self.session.event_file()
        if not text:
            keys = self.keys
            copies, saves = keys["lab.yank"], keys["lab.save"]
            self.tell(f"these events need the capture: {copies} copies the command, {saves} saves the machine")
            return
        self.write_new(f"{self.session.name.replace(':', '-')}.events", lambda out: out.write(text.encode()))

    def action_search(self) -> None:
        """Type the name of a line of the matrix."""
        self.query_one(Prompt).ask("search", "search:", self.session.search_text)

    def _find(self, text: str) -> str:
        at = self.session.search(text, self.matrix.cursor)
        if at is None:
            return f"{text}: no line of the table has it"
        self.matrix.move_to(at)
        return ""

    def _go(self, text: str) -> str:
        wrong = self.session.go(text)
        if not wrong:
            # Another host can have other lines.
            self.matrix.refresh(layout=True)
            self.matrix.place(self.matrix.cursor)
            self.show_all()
            if self.session.left_out:
                self.query_one(OutcomePane).tell(left_out_text(self.session.left_out))
        return wrong

    def _beside(self, text: str) -> str:
        found = self.session.against(text)
        if isinstance(found, str):
            return found
        self.app.push_screen(AgainstScreen(found, f"{self.session.name} · {' · '.join(found.names)}"))
        return ""

    def _let_happen(self, text: str) -> str:
        wrong = self.session.happen(text)
        if not wrong:
            self.show_all()
        return wrong

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Do it; a line that is none can be mended."""
        prompt = self.query_one(Prompt)
        does = {"search": self._find, "place": self._go, "against": self._beside, "event": self._let_happen}
        wrong = does[event.purpose](event.text.strip())
        if not wrong:
            prompt.close()
        elif event.purpose == "search":
            prompt.give_up(wrong)
        else:
            prompt.refuse(wrong)

    def on_prompt_closed(self) -> None:
        """Back to the matrix."""
        self.set_focus(self.matrix)
