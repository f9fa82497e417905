"""What the XSTATE lab works on: a world, its components, the events that have a key.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import InspectorError
from inspector.export.worlds import Comparison, Side, compared
from inspector.machine.against import Happened, happened
from inspector.machine.x86.world.buffer import BufferMap, buffer_map
from inspector.machine.x86.world.gates import Chain, chains
from inspector.machine.x86.world.matrix import component_rows
from inspector.machine.x86.world.offers import FIRST, PLACE, UNDO, Offer, offers
from inspector.machine.x86.world.toggle import xcr0_toggled
from inspector.machine.x86.world.world import World
from inspector.targets.event_file import file_text
from inspector.targets.place import Place, place_of, played_elsewhere
from inspector.tui.world_session import WorldSession
from layouts.scenario import Scenario


class XstateLabSession(WorldSession):
    """A simulated host, process and VM to play with."""

    world: World

    def __init__(self, world: World, scenario: Scenario, origin: Sequence[str] | None = ()) -> None:
        super().__init__(world, scenario, origin)
        #: What could not happen again when the host, the kernel or the policy became another.
        self.left_out: list[Happened] = []
        self.rows = component_rows(world)

    def event(self, words: str, component: int) -> str:
        """One of the events with a key, on the vCPU that is looked at; ``{row}`` is a component's number."""
        words = words.replace("{row}", str(component))
        if self.vcpu_number and not words.startswith(("arch_prctl", "KVM_CREATE")):
            words += f" vcpu={self.vcpu_number}"
        return self.happen(words)

    def toggle(self, register: str, component: int) -> str:
        """Toggle a component: in XCR0 by a guest XSETBV, with what goes with it or bare, in XFD by a guest WRMSR."""
        vcpu = self.world.vcpu_state(self.vcpu_number)
        if vcpu is None:
            return "there is no vCPU; KVM_CREATE_VCPU makes one"
        if register == "XFD":
            return self.event(f"guest wrmsr XFD {vcpu.xfd ^ 1 << component:#x}", component)
        return self.event(f"guest xsetbv {_toggled(register, vcpu.xcr0, component):#x}", component)

    def words_of(self, action: str, label: str, row: int) -> str:
        """See WorldSession."""
        component, vcpu = self.rows[row].number, self.world.vcpu_state(self.vcpu_number)
        if action == "suggested":
            steps = [step for offer in self.offers()[:1] for step in offer.steps]
            return f"{len(steps)} events" if len(steps) > 1 else next(iter(steps), "nothing now")
        if not action.startswith("flip") or vcpu is None:
            return label
        register = action.split("'")[1]
        if register == "XFD":
            return f"WRMSR XFD[{component}] = {1 - (vcpu.xfd >> component & 1)}"
        changes = vcpu.xcr0 ^ _toggled(register, vcpu.xcr0, component)
        numbers = "+".join(str(bit) for bit in range(64) if changes >> bit & 1)
        return f"XSETBV: {numbers} {'off' if vcpu.xcr0 >> component & 1 else 'on'}"

    def row_words(self, row: int) -> str:
        """See WorldSession."""
        return f"{self.rows[row].number} {self.rows[row].name}"

    # What comes next after an event that did not go well

    def offers(self) -> list[Offer]:
        """The steps that are sensible now."""
        steps = self.world.steps
        return offers(steps[-1], self.world.vcpu_state(self.vcpu_number)) if steps else []

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
        self.world = World(self.world.host, self.world.policy, self.world.captured)
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
            options = place._asdict().items()
            said = [word for name, value in options if value for word in (f"--{name}", value)]
            self.origin = [*_without(self.origin, said[::2]), *said]
        self._look()
        return ""

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

    def _look(self) -> None:
        super()._look()
        self.rows = component_rows(self.world, self.vcpu_number)

    def chains(self, component: int) -> tuple[Chain, ...]:
        """The gates between a component and each actor."""
        return chains(self.world, component, self.vcpu_number)

    def buffers(self) -> tuple[BufferMap, BufferMap]:
        """The buffer before the last event, and now."""
        host, steps = self.world.host, self.world.steps
        now = buffer_map(host, self.world.state(), self.vcpu_number)
        return (buffer_map(host, steps[-1].before, self.vcpu_number) if steps else now), now

    def search(self, text: str, start: int) -> int | None:
        """The next row behind ``start`` whose component has the name or the number."""
        self.search_text = text
        wanted, count = text.lower(), len(self.rows)
        for at in range(start + 1, start + 1 + count):
            row = self.rows[at % count]
            if wanted in row.name.lower() or wanted == str(row.number):
                return at % count
        return None

    def event_file(self) -> str:
        """The events so far as a file; empty where a capture's state belongs to them."""
        if self.origin or self.origin is None or len(self.scenario.host.split()) != 1:
            return ""
        return file_text(self.scenario, [step.event for step in self.world.steps])

    def bytes_path(self, component: str) -> str:
        """Where the bytes of a component are in the capture."""
        return f"{'xsave' if self.world.vcpu is not None else 'fpstate_image'}.{component}.*"


def _toggled(register: str, xcr0: int, component: int) -> int:
    """XCR0 with a component the other way: with what goes with it, or its bare bit."""
    return xcr0_toggled(xcr0, component) if register == "XCR0" else xcr0 ^ 1 << component


def _without(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Options with their values, without some."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return [word for pair in pairs if pair[0] not in names for word in pair]
