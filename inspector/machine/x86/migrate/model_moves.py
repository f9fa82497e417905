"""One x86 model on several hosts: whether its guests move between them, and whether they are the same guest at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from inspector.machine.x86.kvm.msrs.access import name_of
from inspector.machine.x86.migrate.calls import Call
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.machine.x86.models.realize import Realization
from layouts.light import NamedTuple
from layouts.x86.models.features import Bit, features
from layouts.x86.vmms import VMMS


class Place(NamedTuple):
    """A model on a host, by the host's name among all: what comes of it, its guest as it starts, the destination."""

    name: str
    made: Realization
    guest: Guest
    host: Destination


class Move(NamedTuple):
    """A guest of one place that QEMU restores on another, where it has the same line."""

    source: Place
    destination: Place
    made: Migration

    @property
    def arrives(self) -> bool:
        """For all that is known."""
        return self.made.arrives

    @property
    def why(self) -> str:
        """What is in the way; empty for one that arrives."""
        if self.arrives:
            return ""
        refusal = self.made.refusal
        if isinstance(refusal, Call):
            names = ", ".join(name_of(index) for index, _ in refusal.refused)
            return f"refused; {refusal.name}: {names or refusal.outcome.because}"
        if refusal is not None:
            return f"refused; {refusal.message}"
        return f"another guest there: {self.made.lost[0].text}"


class Unlike(NamedTuple):
    """A feature that one model gives on some of the places alone: its bit, and a value a place."""

    feature: str
    bit: Bit
    values: tuple[int, ...]


def moves(places: Sequence[Place]) -> list[Move]:
    """Every guest to every other place."""
    return [
        Move(source, to, migrate(source.guest, to.host, VMMS["qemu"], made=to.made))
        for source, to in permutations(places, 2)
    ]


def unlike(places: Sequence[Place]) -> list[Unlike]:
    """What differs between the guests that one model gives on the places."""
    found = []
    for feature, bits in features().items():
        values = tuple(int(feature in place.made.features) for place in places)
        if len(set(values)) > 1:
            found.append(Unlike(feature, bits[0], values))
    return found
