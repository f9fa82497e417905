"""The lab of an arm64 world: the features of a vCPU, events by key, the timeline, the outcome."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.tui import lab_keys
from inspector.tui.arm64_lab_session import Arm64LabSession
from inspector.tui.key import bindings
from inspector.tui.screens.machine import MachineScreen
from inspector.tui.screens.timeline import TimelineScreen
from inspector.tui.wanted import BytesWanted
from inspector.tui.widgets.feature_matrix import FeatureMatrix
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.outcome_pane import OutcomePane, why_text
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.timeline import Timeline

_WIDE_COLUMNS = 120
#: In fewer lines than these, timeline and outcome need all but two.
_LOW_LINES = 20


class Arm64LabScreen(MachineScreen):
    """Simulated arm64 hosts, their VMs and vCPUs to play with."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.ARM64_LAB)
    keys_name = "arm64 lab"
    DEFAULT_CSS = """
    Arm64LabScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    Arm64LabScreen #columns { height: 1; text-style: bold; color: $accent; padding: 0 1; }
    Arm64LabScreen FeatureMatrix { height: auto; padding: 0 1; }
    Arm64LabScreen #below { height: 1fr; layout: vertical; }
    Arm64LabScreen Timeline { height: 2fr; min-height: 2; padding: 0 1; border-top: solid $primary; }
    Arm64LabScreen OutcomePane { height: 3fr; padding: 0 1; border-top: solid $primary; }
    Arm64LabScreen.wide #below { layout: horizontal; }
    Arm64LabScreen.wide Timeline { height: 1fr; width: 1fr; }
    Arm64LabScreen.wide OutcomePane { height: 1fr; width: 1fr; border-left: solid $primary; }
    """

    def __init__(self, session: Arm64LabSession) -> None:
        super().__init__()
        self.session = session

    def lab_session(self) -> Arm64LabSession:
        """See MachineScreen."""
        return self.session

    def compose(self) -> ComposeResult:
        """Title, matrix, timeline, outcome."""
        yield Static("", id="title", markup=False)
        yield Static(FeatureMatrix.heading(), id="columns", markup=False)
        yield FeatureMatrix(self.session)
        with Container(id="below"):
            yield Timeline(self.session.world, self.session.to_come)
            yield OutcomePane()
        yield Prompt()
        yield KeyLine()

    def on_mount(self) -> None:
        """Start at SVE."""
        self.query_one(Timeline).border_title = "timeline"
        self.query_one(OutcomePane).border_title = "outcome"
        self.matrix.place(1)
        self.set_focus(self.matrix)
        self.show_all()

    def on_resize(self, event: events.Resize) -> None:
        """Timeline and outcome side by side where there is room."""
        self.set_class(event.size.width >= _WIDE_COLUMNS, "wide")
        self.matrix.styles.max_height = self.matrix.line_count() if event.size.height >= _LOW_LINES else 2
        self._head()

    @property
    def matrix(self) -> FeatureMatrix:
        """The features."""
        return self.query_one(FeatureMatrix)

    def _head(self) -> None:
        session = self.session
        words = [session.name, session.host_words, session.scenario.policy]
        if session.vcpu_count > 1:
            words.append(f"vCPU {session.vcpu_number} ({session.vcpu_number + 1}/{session.vcpu_count})")
        self.query_one("#title", Static).update(visible(" · ".join(words)))

    def show_all(self) -> None:
        """Everything anew, the last event selected."""
        steps = self.session.world.steps
        self.matrix.resized()
        self._head()
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
        """One of the events with a key."""
        self.done(self.session.event(event))

    def action_next(self) -> None:
        """The scenario's next event."""
        self.done(self.session.next())

    def action_feature(self) -> None:
        """KVM_ARM_VCPU_INIT with the selected feature, or without it."""
        self.done(self.session.toggle(self.matrix.row()))

    def action_execute(self) -> None:
        """The selected feature's instruction."""
        self.done(self.session.execute(self.matrix.row()))

    def action_why(self) -> None:
        """What is between the selected feature and the guest."""
        row = self.matrix.row()
        if row.touch is None:
            self.tell(f"{row.feature.name}: no instruction here uses it, or there is no vCPU yet")
            return
        pane = self.query_one(OutcomePane)
        pane.tell(why_text(row.feature.name, row.touch, "", pane.text_width))

    def action_host(self) -> None:
        """The next host."""
        self.session.look_at_host(self.session.host_number + 1)
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
        """The registers of the vCPU in the Inspect screen."""
        capture = self.session.capture()
        if not capture.vcpus:
            self.tell("no vCPU is initialized yet")
            return
        number = min(self.session.capture_index(), len(capture.vcpus) - 1)
        self.want(BytesWanted(capture, self.session.bytes_path(), number))

    # Lines that are typed

    def action_ask(self) -> None:
        """Type any event."""
        self.query_one(Prompt).ask("event", "event:", self.session.to_come[0] if self.session.to_come else "")

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Let it happen; an event that is none can be mended."""
        prompt = self.query_one(Prompt)
        wrong = self.session.happen(event.text.strip())
        if wrong:
            prompt.refuse(wrong)
            return
        prompt.close()
        self.show_all()

    def on_prompt_closed(self) -> None:
        """Back to the matrix."""
        self.set_focus(self.matrix)
