"""What a lab of a world works on: the world, a scenario's events that are still to come, what was taken back.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from inspector.capture.errors import InspectorError
from inspector.capture.model import Capture
from inspector.export.worlds import Comparison, Side, compared
from inspector.machine.against import Happened, happened
from inspector.machine.events import EventError
from inspector.machine.offers import FIRST, PLACE, UNDO, Offer
from inspector.machine.world import BaseWorld
from inspector.targets.event_file import file_text
from inspector.targets.place import Place, place_of, played_elsewhere
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
        #: The lines of the matrix.
        self.rows: Sequence[Any] = ()
        #: Events of the scenario that are still to come.
        self.to_come = list(scenario.events)
        self.vcpu_number = 0
        self.search_text = ""
        self._undone: list[str] = []
        #: What could not happen again when the host, the kernel or the policy became another.
        self.left_out: list[Happened] = []

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

    def follow(self) -> str:
        """Make the first of them."""
        found = self.offers()
        if not found:
            return "nothing is offered: the last event went well, or nobody knows better"
        for step in found[0].steps:
            wrong = self._make(step)
            if wrong:
                return wrong
        return ""

    def _make(self, step: str) -> str:
        if step == UNDO:
            return self.undo()
        if step.startswith(PLACE):
            return self.go(step.removeprefix(PLACE))
        return self._begin_with(step.removeprefix(FIRST)) if step.startswith(FIRST) else self.happen(step)

    def _begin_with(self, event: str) -> str:
        """All events again, behind another one; where they were that event, without it."""
        before = [step.event for step in self.world.steps if step.event != event]
        self.world = self.world.anew()
        played = list(happened(self.world, [event, *before]))
        self.left_out = [one for one in played if one.step is None]
        self._undone.clear()
        self._look()
        return ""

    # Other places: each says what is wrong, or nothing

    @property
    def place(self) -> str:
        """Where it happens, as it is typed."""
        return Place(self.scenario.host, self.scenario.kernel, self.scenario.policy).words

    def go(self, text: str) -> str:
        """The same events on another host, kernel or policy; ``left_out`` are those that cannot happen there."""
        try:
            place = place_of(text)
            if place.host == self.scenario.host:
                place = place._replace(host="")
            self.scenario, self.world, played = played_elsewhere(self.world, self.scenario, place)
        except InspectorError as error:
            return str(error)
        self.left_out = [one for one in played if one.step is None]
        self._undone.clear()
        if self.origin:
            said = [word for name, value in self._options(place) if value for word in (name, value)]
            self.origin = [*_without(self.origin, said[::2]), *said]
        self._look()
        return ""

    def _options(self, place: Place) -> list[tuple[str, str]]:
        """The options of ``inspector sim`` that say a place."""
        way = "--policy" if self.scenario.architecture == "x86" else "--abi"
        return [("--host", place.host), ("--kernel", place.kernel), (way, place.policy)]

    def against(self, text: str) -> Comparison | str:
        """The events so far in this world and at another place; or what is wrong with that."""
        if not self.world.steps:
            return "nothing has happened yet"
        try:
            there, other, played = played_elsewhere(self.world, self.scenario, place_of(text))
        except InspectorError as error:
            return str(error)
        here = [Happened(step.event, step) for step in self.world.steps]
        sides = Side(self.scenario, self.world), Side(there, other)
        return compared(*sides, list(zip(here, played, strict=True)))

    # What there is to see

    def words_of(self, action: str, label: str, row: int) -> str:  # noqa: ARG002
        """What a key with an action, called ``label``, would do to the selected row of the matrix."""
        if action != "suggested":
            return label
        steps = [step for offer in self.offers()[:1] for step in offer.steps]
        return f"{len(steps)} events" if len(steps) > 1 else next(iter(steps), "nothing now")

    def offers(self) -> list[Offer]:
        """The steps that are sensible now, after an event that did not go well."""
        return []

    def row_words(self, row: int) -> str:
        """What a row of the matrix is called."""
        raise NotImplementedError

    def is_called(self, row: int, text: str) -> bool:
        """A row of the matrix has a name with a text in it, in small letters."""
        return text in self.row_words(row).lower()

    def search(self, text: str, start: int) -> int | None:
        """The next row behind ``start`` that is called so."""
        self.search_text = text
        count = len(self.rows)
        order = (at % count for at in range(start + 1, start + 1 + count))
        return next((at for at in order if self.is_called(at, text.lower())), None)

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
        place = Place(scenario.host, scenario.kernel, scenario.policy)
        (_, host), *others = self._options(place)
        towards = [("--to", destination) for destination in scenario.destinations]
        return [word for pair in (("--host", host), *towards, *others) for word in pair]

    def event_file(self) -> str:
        """The events so far as a file; empty where a capture's state belongs to them."""
        if self.origin or self.origin is None or len(self.scenario.host.split()) != 1:
            return ""
        return file_text(self.scenario, [step.event for step in self.world.steps])

    def capture(self) -> Capture:
        """The machine's bytes."""
        from inspector.targets.scenarios import machine_capture

        return machine_capture(self.world, self.scenario, self.name)


def _without(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Options with their values, without some."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return [word for pair in pairs if pair[0] not in names for word in pair]
