"""What a lab of a world works on: the world, a scenario's events that are still to come, what was taken back.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from inspector.capture.model import Capture
from inspector.machine.events import EventError
from inspector.machine.world import BaseWorld
from inspector.machine.x86.world.offers import Offer
from layouts.scenario import Scenario
from layouts.scenarios import scenarios


class WorldSession:
    """A world to play with. ``vcpu_number`` is the vCPU that is looked at.

    ``origin`` are the words with which ``inspector sim`` makes the same world; None where none do, for the state was
    edited.
    """

    def __init__(self, world: BaseWorld[Any], scenario: Scenario, origin: Sequence[str] | None = ()) -> None:
        self.world = world
        self.scenario = scenario
        self.origin = origin
        #: Events of the scenario that are still to come.
        self.to_come = list(scenario.events)
        self.vcpu_number = 0
        self.search_text = ""
        self._undone: list[str] = []

    @property
    def name(self) -> str:
        """What the machine is called, as a target."""
        return f"sim:{self.scenario.name}"

    @property
    def vcpu_count(self) -> int:
        """How many vCPUs there are."""
        return self.world.vcpu_count

    # Events: each says what is wrong, or nothing

    def happen(self, event: str) -> str:
        """Let an event happen."""
        wrong = self._happen(event)
        if not wrong:
            self._undone.clear()
        return wrong

    def _happen(self, event: str) -> str:
        if self.world.is_down:
            return "the host is down; only undo goes on from here"
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
        return self.happen(self.to_come[0]) if self.to_come else "the scenario is at its end; any event can be typed"

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

    def words_of(self, action: str, label: str, row: int) -> str:  # noqa: ARG002
        """What a key with an action, called ``label``, would do to the selected row of the matrix."""
        return label

    def offers(self) -> list[Offer]:
        """The steps that are sensible now, after an event that did not go well."""
        return []

    def row_words(self, row: int) -> str:
        """What a row of the matrix is called."""
        raise NotImplementedError

    def look_at(self, vcpu_number: int) -> None:
        """Another vCPU, behind the last the first."""
        self.vcpu_number = vcpu_number % max(1, self.vcpu_count)
        self._look()

    def _look(self) -> None:
        self.vcpu_number = min(self.vcpu_number, max(0, self.vcpu_count - 1))

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
        words = ["--host", scenario.host]
        for destination in scenario.destinations:
            words += ["--to", destination]
        way = "--policy" if scenario.architecture == "x86" else "--abi"
        return [*words, "--kernel", scenario.kernel, way, scenario.policy]

    def capture(self) -> Capture:
        """The machine's bytes."""
        from inspector.targets.scenarios import machine_capture

        return machine_capture(self.world, self.scenario, self.name)
