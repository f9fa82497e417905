"""What the XSTATE lab works on: a world, a scenario's events that are still to come, what was taken back.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from inspector.capture.model import Capture
from inspector.machine.events import EventError
from inspector.machine.x86.world.buffer import BufferMap, buffer_map
from inspector.machine.x86.world.gates import Chain, chains
from inspector.machine.x86.world.matrix import component_rows
from inspector.machine.x86.world.world import World
from layouts.scenario import Scenario
from layouts.x86.scenarios import scenarios


class XstateLabSession:
    """A simulated host, process and VM to play with. ``vcpu_number`` is the vCPU that is looked at.

    ``origin`` are the words with which ``inspector sim`` makes the same world; None where none do, for the state was
    edited.
    """

    def __init__(self, world: World, scenario: Scenario, origin: Sequence[str] | None = ()) -> None:
        self.world = world
        self.scenario = scenario
        self.origin = origin
        #: Events of the scenario that are still to come.
        self.to_come = list(scenario.events)
        self.vcpu_number = 0
        self.search_text = ""
        self._undone: list[str] = []
        self.rows = component_rows(world)

    @property
    def name(self) -> str:
        """What the machine is called, as a target."""
        return f"sim:{self.scenario.name}"

    @property
    def vcpu_count(self) -> int:
        """How many vCPUs there are."""
        return len(self.world.vm.guests) if self.world.vm is not None else 0

    # Events: each says what is wrong, or nothing

    def happen(self, event: str) -> str:
        """Let an event happen."""
        wrong = self._happen(event)
        if not wrong:
            self._undone.clear()
        return wrong

    def _happen(self, event: str) -> str:
        if self.world.is_down:
            return "the host is down; u takes the last event back"
        try:
            self.world.happen(event)
        except EventError as error:
            return str(error)
        if self.to_come and event == self.to_come[0]:
            self.to_come.pop(0)
        self._look()
        return ""

    def next(self) -> str:
        """The scenario's next event."""
        return self.happen(self.to_come[0]) if self.to_come else "the scenario is at its end; : takes any event"

    def event(self, words: str, component: int) -> str:
        """One of the events with a key, on the vCPU that is looked at; ``{row}`` is a component's number."""
        words = words.replace("{row}", str(component))
        if self.vcpu_number and not words.startswith(("arch_prctl", "KVM_CREATE")):
            words += f" vcpu={self.vcpu_number}"
        return self.happen(words)

    def toggle(self, register: str, component: int) -> str:
        """Toggle a component's bit: of XCR0 by a guest XSETBV, of XFD by a guest WRMSR."""
        vcpu = self.world.vcpu_state(self.vcpu_number)
        if vcpu is None:
            return "there is no vCPU; v creates one"
        if register == "XCR0":
            return self.event(f"guest xsetbv {vcpu.xcr0 ^ 1 << component:#x}", component)
        return self.event(f"guest wrmsr XFD {vcpu.xfd ^ 1 << component:#x}", component)

    def undo(self) -> str:
        """Take the last event back."""
        step = self.world.undo()
        if step is None:
            return "nothing to undo"
        self._undone.append(step.event)
        done = len(self.world.steps)
        if self.scenario.events[done : done + 1] == (step.event,):
            self.to_come.insert(0, step.event)
        self._look()
        return ""

    def redo(self) -> str:
        """Let what was taken back happen again."""
        return self._happen(self._undone.pop()) if self._undone else "nothing to redo"

    # What there is to see

    def look_at(self, vcpu_number: int) -> None:
        """Another vCPU, behind the last the first."""
        self.vcpu_number = vcpu_number % max(1, self.vcpu_count)
        self._look()

    def _look(self) -> None:
        self.vcpu_number = min(self.vcpu_number, max(0, self.vcpu_count - 1))
        self.rows = component_rows(self.world, self.vcpu_number)

    def chains(self, component: int) -> tuple[Chain, ...]:
        """The gates between a component and each actor."""
        return chains(self.world, component, self.vcpu_number)

    def buffers(self) -> tuple[BufferMap, BufferMap]:
        """The buffer before the last event, and now."""
        states = [self.world.steps[-1].before] if self.world.steps else []
        before, *_, now = (
            buffer_map(self.world.host, state, self.vcpu_number) for state in (*states, *[self.world.state()] * 2)
        )
        return before, now

    def search(self, text: str, start: int) -> int | None:
        """The next row behind ``start`` whose component has the name or the number."""
        self.search_text = text
        wanted, count = text.lower(), len(self.rows)
        for at in range(start + 1, start + 1 + count):
            row = self.rows[at % count]
            if wanted in row.name.lower() or wanted == str(row.number):
                return at % count
        return None

    # Taking away

    def command(self) -> str:
        """The command that shows the same; empty where there is none."""
        if self.origin is None:
            return ""
        known = scenarios().get(self.scenario.name)
        planned = known.events if known is not None else self.scenario.events
        events = [step.event for step in self.world.steps]
        whole = bool(planned) and tuple(events[: len(planned)]) == planned
        words = ["inspector", "sim", self.scenario.name if whole else "new", *(self.origin or self._place())]
        for event in events[len(planned) :] if whole else events:
            words += ["--event", event]
        return shlex.join(words)

    def _place(self) -> list[str]:
        scenario = self.scenario
        return ["--host", scenario.host, "--kernel", scenario.kernel, "--policy", scenario.policy]

    def capture(self) -> Capture:
        """The machine's bytes."""
        from inspector.targets.x86_capture import capture_of

        return capture_of(self.world, self.name)

    def bytes_path(self, component: str) -> str:
        """Where the bytes of a component are in the capture."""
        return f"{'xsave' if self.world.vcpu is not None else 'fpstate_image'}.{component}.*"
