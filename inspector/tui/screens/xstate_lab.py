"""The XSTATE lab: components at every level, events by key, the timeline, the outcome."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Footer, Static

from inspector.capture.errors import visible
from inspector.export.machine_state import use_sentence
from inspector.machine.x86.world.matrix import walk
from inspector.tui import lab_keys
from inspector.tui.key import bindings
from inspector.tui.screens.machine import MachineScreen
from inspector.tui.screens.timeline import TimelineScreen
from inspector.tui.wanted import BytesWanted
from inspector.tui.widgets.component_matrix import WIDE_COLUMNS, ComponentMatrix
from inspector.tui.widgets.outcome_pane import OutcomePane, why_text
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.timeline import Timeline
from inspector.tui.xstate_lab_session import XstateLabSession

#: Title, names of the columns and footer.
_FRAME_LINES = 4
#: In fewer lines than these, timeline and outcome need all but two.
_LOW_LINES = 12


class XstateLabScreen(MachineScreen):
    """A simulated host, process and vCPU to play with."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.XSTATE_LAB)
    keys_name = "xstate lab"
    DEFAULT_CSS = """
    XstateLabScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    XstateLabScreen #columns { height: auto; text-style: bold; color: $accent; padding: 0 1; }
    XstateLabScreen ComponentMatrix { height: auto; padding: 0 1; }
    XstateLabScreen #below { height: 1fr; layout: vertical; }
    XstateLabScreen Timeline { height: 2fr; min-height: 2; padding: 0 1; border-top: solid $primary; }
    XstateLabScreen OutcomePane { height: 3fr; padding: 0 1; border-top: solid $primary; }
    XstateLabScreen.wide #below { layout: horizontal; }
    XstateLabScreen.wide Timeline { height: 1fr; width: 1fr; }
    XstateLabScreen.wide OutcomePane { height: 1fr; width: 1fr; border-left: solid $primary; }
    """

    def __init__(self, session: XstateLabSession) -> None:
        super().__init__()
        self.session = session

    def lab_session(self) -> XstateLabSession:
        """See MachineScreen."""
        return self.session

    def compose(self) -> ComposeResult:
        """Title, matrix, timeline, outcome."""
        yield Static("", id="title", markup=False)
        yield Static("", id="columns", markup=False)
        yield ComponentMatrix(self.session)
        with Container(id="below"):
            yield Timeline(self.session.world, self.session.to_come)
            yield OutcomePane()
        yield Prompt()
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Start at the matrix."""
        self.query_one(Timeline).border_title = "timeline"
        self.query_one(OutcomePane).border_title = "outcome"
        matrix = self.matrix
        # The last component is the one that matters where there is AMX.
        matrix.place(matrix.line_count() - 1)
        self.set_focus(matrix)
        self.show_all()

    def on_resize(self, event: events.Resize) -> None:
        """Timeline and outcome side by side where there is room."""
        wide, height = event.size.width >= WIDE_COLUMNS, event.size.height - _FRAME_LINES
        self.set_class(wide, "wide")
        rows = min(22, 2 * height // 3) if wide else height // 2
        self.matrix.styles.max_height = rows if height >= _LOW_LINES else 2
        self._head(event.size.width)

    @property
    def matrix(self) -> ComponentMatrix:
        """The components."""
        return self.query_one(ComponentMatrix)

    def _head(self, width: int) -> None:
        """The title and the names of the columns."""
        session, scenario = self.session, self.session.scenario
        words = [session.name, scenario.host, session.world.host.kernel.title, scenario.policy]
        if session.vcpu_count > 1:
            words.append(f"vCPU {session.vcpu_number} ({session.vcpu_number + 1}/{session.vcpu_count})")
        self.query_one("#title", Static).update(visible(" · ".join(words)))
        self.query_one("#columns", Static).update(self.matrix.heading(width))

    def show_all(self) -> None:
        """Everything anew, the last event selected."""
        steps = self.session.world.steps
        self.matrix.resized()
        self._head(self.app.size.width)
        timeline = self.query_one(Timeline)
        timeline.resized()
        timeline.place(max(0, len(steps) - 1))
        self.show_step(len(steps) - 1)

    def show_step(self, number: int) -> None:
        """The outcome of an event, or how to begin."""
        step = self.session.world.steps[number] if number >= 0 else None
        self.query_one(OutcomePane).show(step, self.session.scenario, number + 1)

    def on_line_view_moved(self, event: Timeline.Moved) -> None:
        """The outcome follows the timeline's cursor."""
        steps = self.session.world.steps
        if isinstance(event.view, Timeline) and event.line < len(steps):
            self.show_step(event.line)

    def action_event(self, event: str) -> None:
        """One of the events with a key; {row} is the selected component."""
        self.done(self.session.event(event, self.matrix.row().number))

    def action_next(self) -> None:
        """The scenario's next event."""
        self.done(self.session.next())

    def action_flip(self, register: str) -> None:
        """Toggle the component's bit by a guest instruction."""
        self.done(self.session.toggle(register, self.matrix.row().number))

    def action_why(self) -> None:
        """What is between the selected component and a program in the guest."""
        row = self.matrix.row()
        pane = self.query_one(OutcomePane)
        world = self.session.world
        use = use_sentence(row.number, row.use, world.host.evidence) if row.use is not None else ""
        pane.tell(why_text(row.name, walk(world, row.number), use, pane.text_width))

    def action_levels(self) -> None:
        """In a narrow terminal: the host's level or the guest's Linux."""
        self.matrix.inner = not self.matrix.inner
        self.show_all()

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
        """The bytes of the selected component in the Inspect screen."""
        path = self.session.bytes_path(self.matrix.row().name)
        self.want(BytesWanted(self.session.capture(), path, self.session.vcpu_number))

    # Lines that are typed

    def action_ask(self) -> None:
        """Type any event."""
        self.query_one(Prompt).ask("event", "event:", self.session.to_come[0] if self.session.to_come else "")

    def action_search(self) -> None:
        """Type a component's name or number."""
        self.query_one(Prompt).ask("search", "component:", self.session.search_text)

    def _find(self, text: str) -> str:
        at = self.session.search(text, self.matrix.cursor)
        if at is None:
            return f"{text}: no component has it"
        self.matrix.move_to(at)
        return ""

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Do it; an event that is none can be mended."""
        prompt, text = self.query_one(Prompt), event.text.strip()
        searches = event.purpose == "search"
        wrong = self._find(text) if searches else self.session.happen(text)
        if wrong and searches:
            prompt.give_up(wrong)
        elif wrong:
            prompt.refuse(wrong)
        else:
            prompt.close()
            if not searches:
                self.show_all()

    def on_prompt_closed(self) -> None:
        """Back to the matrix."""
        self.set_focus(self.matrix)
