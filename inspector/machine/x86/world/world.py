"""A host, its processes and a VM, to which events happen one after the other, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import NamedTuple

from inspector.capture.nearest import did_you_mean
from inspector.machine.outcome import Outcome, Step
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.trace import Costs, Line
from inspector.machine.x86.world.events import kvm as kvm_events
from inspector.machine.x86.world.events import linux as linux_events
from inspector.machine.x86.world.events.linux import LINUX_EVENTS, Level
from inspector.machine.x86.world.events.words import EventError, below
from inspector.machine.x86.world.stage import Captured, Stage
from inspector.machine.x86.world.state import VcpuState, WorldState, vcpu_state_of, world_state_of
from layouts.x86.kernels import POLICIES, Policy

_CPUS = 1024
_BOOT = "boot"
#: After these, what goes on is a process that has no VM: its file descriptors are another mm's.
_WITHOUT_VM = ("fork", "exec")
#: Words of an event that say where it happens: on which CPU, to which vCPU, in which thread.
_PLACES = ("cpu", "vcpu", "thread")


class Moment(NamedTuple):
    """The state between two events: its numbers, and what makes the vCPU's image for user space."""

    state: WorldState
    image: Callable[[], bytes]


class WorldStep(Step):
    """An event of a world, with what kernels did.

    What it changed is found when somebody asks, by letting the events happen again elsewhere.
    """

    def __init__(self, world: World, number: int, event: str, outcome: Outcome, log: tuple[Line, ...]) -> None:
        super().__init__(event, outcome)
        self._world = world
        self._number = number
        self.log = log

    @cached_property
    def around(self) -> tuple[Moment, Moment]:
        """The moments before and after."""
        history = self._world.history(self._number + 1)
        return history[self._number], history[self._number + 1]

    @property
    def before(self) -> WorldState:
        """The state before the event."""
        return self.around[0].state

    @property
    def after(self) -> WorldState:
        """The state after it."""
        return self.around[1].state

    @cached_property
    def bytes_changed(self) -> int:
        """Bytes of the vCPU's image for user space that changed."""
        one, other = (moment.image() for moment in self.around)
        if one == other:
            return 0
        size = max(len(one), len(other))
        pairs = zip(one.ljust(size, b"\0"), other.ljust(size, b"\0"), strict=True)
        return sum(1 for before, after in pairs if before != after)


@lru_cache(maxsize=1024)
def _parsed(event: str) -> tuple[list[str], dict[str, int]]:
    """The words of an event, and where it happens. Raises ValueError."""
    words, at = [], {}
    for text in event.split():
        name, equals, value = text.partition("=")
        if equals and name in _PLACES:
            at[name] = below(value, _CPUS)
        else:
            words.append(text)
    return words, at


class World(Stage):
    """What events happen to.

    Events are deterministic, so a state is the events that led to it: undo makes them again but for the last.
    """

    def __init__(self, host: Host, policy: Policy = POLICIES[0], captured: Captured | None = None) -> None:
        super().__init__(host, policy, captured)
        self.steps: list[WorldStep] = []
        self._history: list[Moment] = []

    # Events

    def happen(self, event: str) -> WorldStep:
        """Let an event happen.

        Raises EventError for words that are no event, or for what cannot happen now; nothing is changed then.
        """
        try:
            outcome = self._happen(event)
        except (ValueError, IndexError, TypeError) as error:
            self._again()
            raise EventError(event, str(error)) from error
        step = WorldStep(self, len(self.steps), event, outcome, self.trace.take())
        self.steps.append(step)
        return step

    def play(self, events: Iterable[str]) -> None:
        """Let events happen, until one takes the host down. Raises EventError for one that is none."""
        for event in events:
            self.happen(event)
            if self.is_down:
                break

    def _happen(self, event: str) -> Outcome:
        words, self._at = _parsed(event)
        name = words[0] if words else ""
        if name == "guest":
            return self._happen_in_guest(words[1:])
        if name in LINUX_EVENTS:
            level = Level(self.host_linux, self.process, self.cpu(), self.thread(), self._memory["host"])
            outcome = linux_events.happen(level, words)
            if name in _WITHOUT_VM and self.vm is not None:
                self.vm.close()
                self.vm = None
            self.process, self._memory["host"] = level.process, level.memory
            return outcome
        if name in kvm_events.KVM_EVENTS:
            return kvm_events.KVM_EVENTS[name](self, words[1:])
        known = (*LINUX_EVENTS, "guest", *kvm_events.KVM_EVENTS)
        raise ValueError(f"no such event; {did_you_mean(name, known, 'inspector sim --help')}")

    def _happen_in_guest(self, words: list[str]) -> Outcome:
        guest = self.guest()
        assert self.vm is not None
        if words[:1] == [_BOOT]:
            return kvm_events.boot(self, words[1:])
        if words[:1] and words[0] in LINUX_EVENTS:
            linux, process = self.vm.linux, self.vm.guest_process
            if linux is None or process is None:
                raise ValueError("the guest has no Linux; guest boot starts one")
            thread = process.thread(self._at.get("thread", 0))
            level = Level(linux, process, linux.cpu(guest.number), thread, self._memory["guest"])
            outcome = linux_events.happen(level, words)
            self.vm.guest_process, self._memory["guest"] = level.process, level.memory
            return outcome
        outcome = kvm_events.bare(guest, words, self._memory["guest"])
        if outcome.accepted and words[0].startswith("xsave"):
            self._memory["guest"] = outcome.image
        return outcome

    @property
    def costs(self) -> Costs:
        """What the host paid for XFD so far."""
        return self.trace.costs

    @property
    def is_down(self) -> bool:
        """The last event took the host down; only undo goes on from here."""
        return bool(self.steps) and self.steps[-1].outcome.verdict == "host-oops"

    def undo(self) -> WorldStep | None:
        """Take the last event back; every byte is as it was. None when there is none."""
        if not self.steps:
            return None
        # What it changed stays known.
        _ = self.steps[-1].around
        undone = self.steps.pop()
        del self._history[len(self.steps) + 1 :]
        self._again()
        return undone

    def history(self, count: int) -> list[Moment]:
        """The moments before the first event and after each of the first ``count``."""
        if len(self._history) <= count:
            other = World(self.host, self.policy, self.captured)
            self._history = [other.moment()]
            for step in self.steps:
                other._happen(step.event)
                self._history.append(other.moment())
        return self._history

    def moment(self) -> Moment:
        """The state as it is now."""
        vcpu = self.vcpu
        return Moment(self.state(), vcpu.image_maker() if vcpu is not None else bytes)

    def _again(self) -> None:
        self.reset()
        for step in self.steps:
            self._happen(step.event)
        self.trace.take()

    def state(self) -> WorldState:
        """What is worth a look, as numbers."""
        return world_state_of(self.host_linux, self.process, self.vm)

    def vcpu_state(self, number: int = 0) -> VcpuState | None:
        """A vCPU's state, or None where there is no such vCPU."""
        vcpus = self.vm.vcpus if self.vm is not None else []
        return vcpu_state_of(vcpus[number]) if number < len(vcpus) else None
