"""The XSTATE lab: components at every level, events by key, the timeline, the outcome."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.export.machine_state import use_sentence
from inspector.machine.x86.world.gates import GateName
from inspector.targets.place import completions
from inspector.tui import lab_keys
from inspector.tui.byte_map import map_heading, map_lines
from inspector.tui.chain import chain_heading, chain_lines
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.key import bindings, keys_of
from inspector.tui.lanes import costs_words
from inspector.tui.screens.against import AgainstScreen
from inspector.tui.screens.machine import MachineScreen
from inspector.tui.screens.timeline import TimelineScreen
from inspector.tui.wanted import BytesWanted
from inspector.tui.widgets.component_matrix import WIDE_COLUMNS, ComponentMatrix
from inspector.tui.widgets.drawn_view import DrawnView
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import fitted
from inspector.tui.widgets.outcome_pane import OutcomePane, gates_text, left_out_text
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.timeline import Timeline
from inspector.tui.xstate_lab_session import XstateLabSession

#: The key that opens a gate, by its id.
_OPENS: dict[GateName, str] = {
    "permission": "xstate.permit_process",
    "guest permission": "xstate.permit",
    "vCPU": "xstate.create",
    "CPUID": "xstate.cpuid",
    "XCR0": "xstate.xcr0",
    "XFD": "xstate.xfd",
}
_KEYS = {key.id: key.written[0] for key, _ in keys_of(lab_keys.XSTATE_LAB)}
GATE_KEYS = {gate: _KEYS[name] for gate, name in _OPENS.items()}
#: Lines of a terminal in which every actor's reason is told; gates and buffer are both drawn; one of them is.
_HIGH, _MIDDLE, _LOW = 40, 33, 20
#: What timeline and outcome need, and the frame: title, names of the columns, footer.
_BELOW_LINES, _FRAME_LINES = 9, 4


class XstateLabScreen(MachineScreen):
    """A simulated host, process and vCPU to play with."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.XSTATE_LAB)
    keys_name = "xstate lab"
    DEFAULT_CSS = """
    XstateLabScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    XstateLabScreen #columns { height: auto; text-style: bold; color: $accent; padding: 0 1; }
    XstateLabScreen ComponentMatrix { height: auto; padding: 0 1; }
    XstateLabScreen DrawnView { height: auto; padding: 0 1; background: $background; }
    XstateLabScreen.high #gates, XstateLabScreen.high #buffer { margin-top: 1; }
    XstateLabScreen.low DrawnView, XstateLabScreen.middle #buffer { display: none; }
    XstateLabScreen.middle.buffer #buffer { display: block; }
    XstateLabScreen.middle.buffer #gates { display: none; }
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
        yield DrawnView(self._legend, "legend")
        yield DrawnView(self._gates, "gates")
        yield DrawnView(self._buffer, "buffer")
        with Container(id="below"):
            yield Timeline(self.session.world, self.session.to_come)
            yield OutcomePane()
        yield Prompt()
        yield KeyLine()

    def on_mount(self) -> None:
        """Start at the matrix."""
        self.query_one(OutcomePane).border_title = "outcome"
        matrix = self.matrix
        # The last component is the one that matters where there is AMX.
        matrix.place(matrix.line_count() - 1)
        self.set_focus(matrix)
        self.show_all()

    def on_resize(self, event: events.Resize) -> None:
        """What there is room for: the pictures, timeline and outcome side by side."""
        width, height = event.size
        wide = width >= WIDE_COLUMNS
        self.set_class(wide, "wide")
        self.set_class(height >= _HIGH, "high")
        self.set_class(_LOW <= height < _MIDDLE, "middle")
        self.set_class(height < _LOW, "low")
        self._head(width)
        self.query_one("#gates", DrawnView).resized()
        drawn = (
            0 if height < _LOW else len(self._gates(width)) + (len(self._buffer(width)) + 1 if height >= _MIDDLE else 0)
        )
        below = _BELOW_LINES if wide else _BELOW_LINES + 1
        self.matrix.styles.max_height = max(2, height - _FRAME_LINES - drawn - below)

    def _legend(self, width: int) -> list[Drawn]:
        """What the chosen column of the matrix says."""
        text = self.matrix.legend(self.app.size.width)
        return [[Piece(f"  ↑ {fitted(text, width - 4)}", "quiet")]] if text else []

    def _gates(self, width: int) -> list[Drawn]:
        """The gates of the selected component."""
        row, brief = self.matrix.row(), self.app.size.height < _HIGH
        found = self.session.chains(row.number)
        lines = [chain_heading(row.name, row.number, width), *chain_lines(found, GATE_KEYS, width, brief=brief)]
        if self.session.world.is_down:
            sentence = f"the host is down: nothing runs on it any more · {_KEYS['lab.undo']} takes the event back"
            lines[1:] = [[Piece(fitted(sentence, width), "bad")], *[[]] * (len(lines) - 2)]
        return lines

    def _buffer(self, width: int) -> list[Drawn]:
        """The buffer that the selected component is in, or is not."""
        before, now = self.session.buffers()
        return [map_heading(now), *map_lines(before, now, self.matrix.row().number, width)]

    @property
    def matrix(self) -> ComponentMatrix:
        """The components."""
        return self.query_one(ComponentMatrix)

    def _head(self, width: int) -> None:
        """The title and the names of the columns."""
        session, scenario = self.session, self.session.scenario
        words = [session.name, scenario.host, session.world.host.kernel.title, scenario.policy]
        if session.world.is_down:
            words.insert(0, "HOST DOWN")
        if session.world.steps:
            words.append(costs_words(session.world.costs_by_name()))
        if session.vcpu_count > 1:
            words.append(f"vCPU {session.vcpu_number} ({session.vcpu_number + 1}/{session.vcpu_count})")
        self.query_one("#title", Static).update(visible(" · ".join(words)), layout=False)
        self.query_one("#columns", Static).update(self.matrix.heading(width))

    def show_all(self) -> None:
        """Everything anew, the last event selected."""
        steps = self.session.world.steps
        self.matrix.resized()
        self._head(self.app.size.width)
        timeline = self.query_one(Timeline)
        timeline.world = self.session.world
        timeline.resized()
        timeline.place(max(0, len(steps) - 1))
        self.draw()
        self.show_step(len(steps) - 1)

    def draw(self) -> None:
        """The pictures anew."""
        for picture in self.query(DrawnView):
            picture.resized()

    def show_step(self, number: int) -> None:
        """The outcome of an event, or how to begin."""
        steps = self.session.world.steps
        step = steps[number] if number >= 0 else None
        # What comes next is said of what is now.
        offered = self.session.offers() if number == len(steps) - 1 else []
        self.query_one(OutcomePane).show(step, self.session.scenario, number + 1, offered, _KEYS["xstate.suggested"])

    def on_line_view_moved(self, event: Timeline.Moved) -> None:
        """The outcome follows the timeline's cursor, the pictures the matrix's."""
        steps = self.session.world.steps
        if isinstance(event.view, Timeline) and event.line < len(steps):
            self.show_step(event.line)
        elif event.view is self.matrix:
            self.draw()

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
        evidence = self.session.world.host.evidence
        use = use_sentence(row.number, row.use, evidence) if row.use is not None else ""
        pane.tell(gates_text(row.name, self.session.chains(row.number), use, pane.text_width))

    def action_suggested(self) -> None:
        """The first of the steps that the outcome offers."""
        wrong = self.session.follow()
        self.show_all()
        self.tell(wrong)

    def action_levels(self) -> None:
        """In a narrow terminal: the host's level or the guest's Linux."""
        self.matrix.inner = not self.matrix.inner
        self.show_all()

    def action_column(self, by: int) -> None:
        """Another column of the matrix, which the legend explains."""
        self.matrix.choose(by)
        self._head(self.app.size.width)
        self.draw()

    def action_picture_of(self) -> None:
        """In a low terminal: the buffer or the gates."""
        self.toggle_class("buffer")

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

    def action_elsewhere(self) -> None:
        """Type another host, kernel or policy."""
        self.query_one(Prompt).ask("place", "elsewhere:", self.session.place, completions)

    def action_against(self) -> None:
        """Type where the same events are to happen too."""
        self.query_one(Prompt).ask("against", "beside (host= kernel= policy=):", "", completions)

    def action_save_events(self) -> None:
        """Write the events as a file: under the machine's name, or with a number where that is taken."""
        text = self.session.event_file()
        if not text:
            self.tell("these events need the capture: y copies the command, S saves the machine")
            return
        self.write_new(f"{self.session.name.replace(':', '-')}.events", lambda out: out.write(text.encode()))

    def action_search(self) -> None:
        """Type a component's name or number."""
        self.query_one(Prompt).ask("search", "component:", self.session.search_text)

    def _find(self, text: str) -> str:
        at = self.session.search(text, self.matrix.cursor)
        if at is None:
            return f"{text}: no component has it"
        self.matrix.move_to(at)
        return ""

    def _go(self, text: str) -> str:
        wrong = self.session.go(text)
        if not wrong:
            # Another host has other components.
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
        prompt, text = self.query_one(Prompt), event.text.strip()
        if event.purpose == "search":
            wrong = self._find(text)
            prompt.give_up(wrong) if wrong else prompt.close()
            return
        does = {"event": self._let_happen, "place": self._go, "against": self._beside}
        wrong = does[event.purpose](text)
        prompt.refuse(wrong) if wrong else prompt.close()

    def on_prompt_closed(self) -> None:
        """Back to the matrix."""
        self.set_focus(self.matrix)
