"""A world: events that happen to a machine one after the other, and back. What the worlds of both architectures have.

Events are deterministic, so a state is the events that led to it: undo makes them again but for the last, and what an
event changed is found by letting the events happen again elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

from inspector.machine import coming
from inspector.machine.events import EventError
from inspector.machine.log import Executed, Line
from inspector.machine.outcome import Outcome, Step
from layouts.kernels import Kernel
from layouts.light import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cached_property

if TYPE_CHECKING:
    from typing import Any, Self

    from inspector.machine.lanes import Path
    from layouts.coming import Coming


State = TypeVar("State")


class Moment(NamedTuple, Generic[State]):
    """The state between two events: its numbers, and what makes the vCPU's image for user space."""

    state: State
    image: Callable[[], bytes]


class WorldStep(Step, Generic[State]):
    """An event of a world, with what kernels did, the guests' instructions, and all costs up to it by name.

    What it changed is found when somebody asks, by letting the events happen again elsewhere.
    """

    def __init__(self, world: BaseWorld[State], number: int, event: str, outcome: Outcome) -> None:
        super().__init__(event, outcome)
        self._world = world
        self._number = number
        self.log, self.executed = world.take_trace()
        self.costs = dict(world.costs_by_name())

    @cached_property
    def around(self) -> tuple[Moment[State], Moment[State]]:
        """The moments before and after."""
        history = self._world.history(self._number + 1)
        return history[self._number], history[self._number + 1]

    @property
    def before(self) -> State:
        """The state before the event."""
        return self.around[0].state

    @property
    def after(self) -> State:
        """The state after it."""
        return self.around[1].state

    @cached_property
    def path(self) -> Path:
        """Who acts in it, in order."""
        return self._world.path_of(self)

    @cached_property
    def bytes_changed(self) -> int:
        """Bytes of the vCPU's image for user space that changed."""
        one, other = (moment.image() for moment in self.around)
        if one == other:
            return 0
        size = max(len(one), len(other))
        pairs = zip(one.ljust(size, b"\0"), other.ljust(size, b"\0"), strict=True)
        return sum(1 for before, after in pairs if before != after)


class BaseWorld(ABC, Generic[State]):
    """What events happen to. A world says how one event happens, what there is to see, and how it began."""

    #: Whose words its events have.
    architecture: str

    def __init__(self) -> None:
        self.steps: list[WorldStep[State]] = []
        self._history: list[Moment[State]] = []

    # What a world says

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """The first host's kernel."""

    @property
    @abstractmethod
    def vcpu_count(self) -> int:
        """How many vCPUs can be looked at."""

    @abstractmethod
    def reset(self) -> None:
        """As it was before any event."""

    @abstractmethod
    def anew(self) -> Self:
        """Another world, as this one was before any event."""

    @abstractmethod
    def moment(self) -> Moment[State]:
        """The state as it is now."""

    @abstractmethod
    def path_of(self, step: WorldStep[State]) -> Path:
        """Who acts in an event, in order."""

    @abstractmethod
    def _happen(self, event: str) -> Outcome:
        """Let an event happen. Raises ValueError, IndexError or TypeError for words that are none."""

    def take_trace(self) -> tuple[tuple[Line, ...], tuple[Executed, ...]]:
        """What kernels did in the event that just happened, and the guests' instructions."""
        return (), ()

    def cost_words(self) -> str:
        """What it cost so far, in one line; empty where nobody counts."""
        return ""

    def costs_by_name(self) -> Mapping[str, Any]:
        """The same by name."""
        return {}

    # What all of them do

    def happen(self, event: str) -> WorldStep[State]:
        """Let an event happen.

        Raises EventError for words that are no event, or for what cannot happen now; nothing is changed then.
        """
        try:
            outcome = self._answer(event)
        except (ValueError, IndexError, TypeError) as error:
            self._again()
            raise EventError(event, str(error)) from error
        step = WorldStep(self, len(self.steps), event, outcome)
        self.steps.append(step)
        return step

    def _answer(self, event: str) -> Outcome:
        """Let an event happen; what a series decides that is not merged is open. Raises as ``_happen`` does."""
        series = coming.deciding(self.kernel, self.architecture, event)
        if series is None:
            return self._happen(event)
        try:
            outcome = self._happen(event)
        except ValueError as error:
            if not coming.is_for_want(series, str(error)):
                raise
            return coming.open_answer(self.kernel, series, None)
        is_open = coming.is_for_want(series, outcome) and self.is_open(series, event)
        return coming.open_answer(self.kernel, series, outcome) if is_open else outcome

    def is_open(self, series: Coming, event: str) -> bool:  # noqa: ARG002 - for those who know more
        """What a series needs is there, so that it decides; else its text says that the answer stays."""
        return True

    def play(self, events: Iterable[str]) -> None:
        """Let events happen, until one takes the host down. Raises EventError for one that is none."""
        for event in events:
            self.happen(event)
            if self.is_down:
                break

    @property
    def is_down(self) -> bool:
        """The last event took the host down; only undo goes on from here."""
        return bool(self.steps) and self.steps[-1].outcome.verdict == "host-oops"

    def undo(self) -> WorldStep[State] | None:
        """Take the last event back; every byte is as it was. None when there is none."""
        if not self.steps:
            return None
        # What it changed stays known.
        _ = self.steps[-1].around
        undone = self.steps.pop()
        del self._history[len(self.steps) + 1 :]
        self._again()
        return undone

    def history(self, count: int) -> list[Moment[State]]:
        """The moments before the first event and after each of the first ``count``."""
        if len(self._history) <= count:
            other = self.anew()
            self._history = [other.moment()]
            for step in self.steps:
                other._answer(step.event)
                self._history.append(other.moment())
        return self._history

    def state(self) -> State:
        """What is worth a look, as numbers."""
        return self.moment().state

    def _again(self) -> None:
        self.reset()
        for step in self.steps:
            self._answer(step.event)
        self.take_trace()
