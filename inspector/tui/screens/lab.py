"""The XSTATE lab: components at every level, events by key, the timeline, the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer, Static

from inspector.capture.errors import visible
from inspector.export.machine_state import use_sentence
from inspector.machine.x86.world.events.words import EventError
from inspector.machine.x86.world.matrix import walk
from inspector.machine.x86.world.state import VcpuState
from inspector.machine.x86.world.world import World
from inspector.tui.base_app import MachineScreen
from inspector.tui.widgets.component_matrix import WIDE_COLUMNS, ComponentMatrix
from inspector.tui.widgets.outcome_pane import OutcomePane, why_text
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.timeline import Timeline
from layouts.x86.scenario import Scenario

#: Title, names of the columns and footer.
_FRAME_LINES = 4
#: In fewer lines than these, timeline and outcome need all but two.
_LOW_LINES = 12


class LabScreen(MachineScreen):
    """A simulated host, process and vCPU to play with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next", "Next", id="lab.next"),
        Binding("u", "undo", "Undo", id="lab.undo"),
        Binding("x", "xcr0", "XCR0", id="lab.xcr0"),
        Binding("f", "xfd", "XFD", id="lab.xfd"),
        Binding("p", "event('arch_prctl REQ_XCOMP_GUEST_PERM {row}')", "Permit", id="lab.guest_permission"),
        Binding("w", "why", "Why", id="lab.why"),
        Binding("o", "bytes", "Bytes", id="lab.bytes"),
        Binding("colon", "ask", "Event", id="lab.ask", key_display=":"),
        Binding("T", "timeline", "Timeline", show=False, id="lab.timeline"),
        Binding("L", "levels", "Host or guest", show=False, id="lab.levels"),
        Binding("left_square_bracket", "vcpu(-1)", "Previous vCPU", show=False, id="lab.vcpu_back", key_display="["),
        Binding("right_square_bracket", "vcpu(1)", "Next vCPU", show=False, id="lab.vcpu_on", key_display="]"),
        Binding("S", "save", "Save as capture", show=False, id="lab.save"),
        Binding("escape", "back", "Back", show=False, id="lab.back"),
        Binding("B", "event('guest boot')", "Boot the guest", show=False, id="lab.boot"),
        Binding("E", "event('exit')", "VM exit", show=False, id="lab.exit"),
        Binding("P", "event('arch_prctl REQ_XCOMP_PERM {row}')", "Permit process", show=False, id="lab.permission"),
        Binding("v", "event('KVM_CREATE_VCPU')", "Create vCPU", show=False, id="lab.create"),
        Binding("c", "event('KVM_SET_CPUID2 supported')", "Set CPUID", show=False, id="lab.cpuid"),
        Binding("a", "event('guest ldtilecfg')", "LDTILECFG", show=False, id="lab.ldtilecfg"),
        Binding("l", "event('guest tileloadd 0')", "TILELOADD", show=False, id="lab.tileload"),
        Binding("r", "event('KVM_RUN')", "Run", show=False, id="lab.run"),
        Binding("e", "event('preempt')", "Preempt", show=False, id="lab.preempt"),
        Binding("i", "event('softirq')", "Softirq", show=False, id="lab.softirq"),
        Binding("b", "event('return')", "Return", show=False, id="lab.return"),
        Binding("1", "event('KVM_GET_XSAVE')", "KVM_GET_XSAVE", show=False, id="lab.get_xsave"),
        Binding("2", "event('KVM_GET_XSAVE2')", "KVM_GET_XSAVE2", show=False, id="lab.get_xsave2"),
    ]
    DEFAULT_CSS = """
    LabScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    LabScreen #columns { height: auto; text-style: bold; color: $accent; padding: 0 1; }
    LabScreen ComponentMatrix { height: auto; padding: 0 1; }
    LabScreen #below { height: 1fr; layout: vertical; }
    LabScreen Timeline { height: 2fr; min-height: 2; padding: 0 1; border-top: solid $primary; }
    LabScreen OutcomePane { height: 3fr; padding: 0 1; border-top: solid $primary; }
    LabScreen.wide #below { layout: horizontal; }
    LabScreen.wide Timeline { height: 1fr; width: 1fr; }
    LabScreen.wide OutcomePane { height: 1fr; width: 1fr; border-left: solid $primary; }
    """

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__()
        self.world = world
        self.scenario = scenario
        #: Events of the scenario that are still to come.
        self.to_come = list(scenario.events)

    def compose(self) -> ComposeResult:
        """Title, matrix, timeline, outcome."""
        yield Static("", id="title", markup=False)
        yield Static("", id="columns", markup=False)
        yield ComponentMatrix(self.world)
        with Container(id="below"):
            yield Timeline(self.world, self.to_come)
            yield OutcomePane()
        yield Prompt()
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Start at the matrix."""
        self.query_one(Timeline).border_title = "timeline"
        self.query_one(OutcomePane).border_title = "outcome"
        matrix = self.query_one(ComponentMatrix)
        # The last component is the one that matters where there is AMX.
        matrix.place(matrix.line_count() - 1)
        self.set_focus(matrix)
        self.show_world()

    def on_resize(self, event: events.Resize) -> None:
        """Timeline and outcome side by side where there is room."""
        wide, height = event.size.width >= WIDE_COLUMNS, event.size.height - _FRAME_LINES
        self.set_class(wide, "wide")
        rows = min(22, 2 * height // 3) if wide else height // 2
        self.query_one(ComponentMatrix).styles.max_height = rows if height >= _LOW_LINES else 2
        self._head(event.size.width)

    def _head(self, width: int) -> None:
        """The title and the names of the columns."""
        scenario = self.scenario
        words = [f"sim:{scenario.name}", scenario.host, self.world.host.kernel.title, scenario.policy]
        guests = self.world.vm.guests if self.world.vm is not None else []
        matrix = self.query_one(ComponentMatrix)
        if len(guests) > 1:
            words.append(f"vCPU {matrix.vcpu_number} ({matrix.vcpu_number + 1}/{len(guests)})")
        self.query_one("#title", Static).update(visible(" · ".join(words)))
        self.query_one("#columns", Static).update(matrix.heading(width))

    def show_world(self) -> None:
        """Everything anew, the last event selected."""
        world = self.world
        self.query_one(ComponentMatrix).resized()
        self._head(self.app.size.width)
        timeline = self.query_one(Timeline)
        timeline.resized()
        timeline.place(max(0, len(world.steps) - 1))
        self.show_step(len(world.steps) - 1)

    def show_step(self, number: int) -> None:
        """The outcome of an event, or how to begin."""
        step = self.world.steps[number] if number >= 0 else None
        self.query_one(OutcomePane).show(step, self.scenario, number + 1)

    def on_line_view_moved(self, event: Timeline.Moved) -> None:
        """The outcome follows the timeline's cursor."""
        steps = self.world.steps
        if isinstance(event.view, Timeline) and event.line < len(steps):
            self.show_step(event.line)

    def happen(self, event: str) -> str:
        """Let an event happen; what is wrong with it, or nothing."""
        if self.world.is_down:
            return "the host is down; u takes the last event back"
        try:
            self.world.happen(event)
        except EventError as error:
            return str(error)
        if self.to_come and event == self.to_come[0]:
            self.to_come.pop(0)
        self.show_world()
        return ""

    def action_event(self, event: str) -> None:
        """One of the events with a key; {row} is the selected component."""
        matrix = self.query_one(ComponentMatrix)
        words = event.replace("{row}", str(matrix.row().number))
        if matrix.vcpu_number and not words.startswith(("arch_prctl", "KVM_CREATE")):
            words += f" vcpu={matrix.vcpu_number}"
        self.tell(self.happen(words))

    def action_next(self) -> None:
        """The scenario's next event."""
        self.tell(self.happen(self.to_come[0]) if self.to_come else "the scenario is at its end; : takes any event")

    def action_undo(self) -> None:
        """Take the last event back."""
        step = self.world.undo()
        if step is None:
            self.tell("nothing to undo")
            return
        done = len(self.world.steps)
        if self.scenario.events[done : done + 1] == (step.event,):
            self.to_come.insert(0, step.event)
        self.show_world()

    def action_xcr0(self) -> None:
        """Toggle the component's bit by a guest XSETBV."""
        self._toggle("guest xsetbv", lambda vcpu: vcpu.xcr0)

    def action_xfd(self) -> None:
        """Toggle the component's bit by a guest WRMSR."""
        self._toggle("guest wrmsr XFD", lambda vcpu: vcpu.xfd)

    def _toggle(self, event: str, register: Callable[[VcpuState], int]) -> None:
        matrix = self.query_one(ComponentMatrix)
        vcpu = self.world.vcpu_state(matrix.vcpu_number)
        if vcpu is None:
            self.tell("there is no vCPU; v creates one")
            return
        self.action_event(f"{event} {register(vcpu) ^ 1 << matrix.row().number:#x}")

    def action_why(self) -> None:
        """What is between the selected component and a program in the guest."""
        row = self.query_one(ComponentMatrix).row()
        pane = self.query_one(OutcomePane)
        use = use_sentence(row.number, row.use, self.world.host.evidence) if row.use is not None else ""
        pane.tell(why_text(row.name, walk(self.world, row.number), use, pane.text_width))

    def action_levels(self) -> None:
        """In a narrow terminal: the host's level or the guest's Linux."""
        matrix = self.query_one(ComponentMatrix)
        matrix.inner = not matrix.inner
        self.show_world()

    def action_vcpu(self, by: int) -> None:
        """Another vCPU in the matrix, and for the keys."""
        count = len(self.world.vm.guests) if self.world.vm is not None else 0
        if count > 1:
            matrix = self.query_one(ComponentMatrix)
            matrix.vcpu_number = (matrix.vcpu_number + by) % count
            self.show_world()

    def action_timeline(self) -> None:
        """The events with the whole state before and after."""
        if not self.world.steps:
            self.tell("nothing has happened yet")
            return
        from inspector.tui.screens.timeline import TimelineScreen

        line = min(self.query_one(Timeline).cursor, len(self.world.steps) - 1)
        self.app.push_screen(TimelineScreen(self.world, f"sim:{self.scenario.name} · timeline", line))

    def action_bytes(self) -> None:
        """The bytes of the selected component in the Inspect screen."""
        from inspector.targets.x86_capture import capture_of
        from inspector.tui.screens.simulated import SimulatedScreen

        matrix = self.query_one(ComponentMatrix)
        capture = capture_of(self.world, f"sim:{self.scenario.name}")
        image = "xsave" if self.world.vcpu is not None else "fpstate_image"
        self.app.push_screen(SimulatedScreen(capture, f"{image}.{matrix.row().name}.*", matrix.vcpu_number))

    def action_save(self) -> None:
        """Write the machine as a capture file."""
        from inspector.targets.x86_capture import capture_of

        name = f"sim:{self.scenario.name}"
        self.save_capture(f"sim-{self.scenario.name}.vcpu", capture_of(self.world, name))

    def help_screen(self) -> Screen[None]:
        """See KeyedScreen."""
        from inspector.tui.screens.lab_help import LabHelpScreen

        return LabHelpScreen()

    def action_ask(self) -> None:
        """Type any event."""
        self.query_one(Prompt).ask("event", "event:", self.to_come[0] if self.to_come else "")

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Let it happen; a typing error keeps the line open."""
        prompt = self.query_one(Prompt)
        wrong = self.happen(event.text.strip())
        if wrong:
            prompt.refuse(wrong)
        else:
            prompt.close()

    def on_prompt_closed(self) -> None:
        """Back to the matrix."""
        self.set_focus(self.query_one(ComponentMatrix))
