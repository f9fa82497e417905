"""Who acts in an event: the lanes that control goes through, from the VMM to the guest's program and back."""

from __future__ import annotations

from layouts.light import Literal, NamedTuple

Lane = Literal["VMM", "host kernel", "vCPU", "guest kernel", "guest program"]
#: From the outside in.
LANES: tuple[Lane, ...] = ("VMM", "host kernel", "vCPU", "guest kernel", "guest program")


class Stop(NamedTuple):
    """Something is done in a lane: ``text`` says what. Control comes from the stop before."""

    lane: Lane
    text: str


class Path(NamedTuple):
    """The way of an event. ``native``: the vCPU executes its instruction, and no exit is needed."""

    stops: tuple[Stop, ...]
    native: bool

    @property
    def lanes(self) -> list[Lane]:
        """The lanes it comes to, each once, the first one its actor's."""
        return list(dict.fromkeys(stop.lane for stop in self.stops))
