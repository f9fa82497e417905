"""One model on several hosts: whether its guests move between them, and whether they are the same guest at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from inspector.machine.arm64.captured import state_of_scratch
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.migrate import Migration, migrate
from inspector.machine.arm64.models.realize import Realization, ask, places_of
from inspector.machine.arm64.models.request import IDENTITY
from layouts.light import NamedTuple


class Move(NamedTuple):
    """A guest of one host restored on another. ``plain`` without, ``made`` with writable implementation registers."""

    source: Host
    made: Migration
    plain: Migration

    @property
    def arrives(self) -> bool:
        """The destination takes it, where need be with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS."""
        return self.made.accepted

    @property
    def needs_imp_ids(self) -> bool:
        """Only with the capability."""
        return self.made.accepted and not self.plain.accepted


class Unlike(NamedTuple):
    """A field or register that one model gives otherwise on two hosts: a value a host, None for none."""

    register: str
    field: str
    values: tuple[int | None, ...]
    is_identity: bool

    @property
    def name(self) -> str:
        """``REGISTER.FIELD``."""
        return f"{self.register}.{self.field}" if self.field else self.register


def moves(made: Sequence[Realization]) -> list[Move]:
    """Every guest to every other host, of those hosts on which the model may run."""
    possible = [one for one in made if one.possible]
    states = {id(one): state_of_scratch(ask(one.request, one.assumed)[0], one.host.name) for one in possible}
    found = []
    for source, destination in permutations(possible, 2):
        state, host = states[id(source)], destination.assumed
        found.append(Move(source.host, migrate(state, host, writable_imp=True), migrate(state, host)))
    return found


def unlike(made: Sequence[Realization]) -> list[Unlike]:
    """What differs between the guests that one model gives on hosts."""
    possible = [one for one in made if one.possible]
    found = []
    for encoding in sorted({encoding for one in possible for encoding in one.registers}):
        values = [one.registers.get(encoding) for one in possible]
        if len(set(values)) < 2:
            continue
        name = possible[0].host.kernel.register_name(encoding)
        places = places_of(encoding) if None not in values and encoding not in IDENTITY else ()
        for place in places:
            numbers = tuple(place.get(value or 0) for value in values)
            if len(set(numbers)) > 1:
                found.append(Unlike(name, place.name, numbers, is_identity=False))
        if not places:
            found.append(Unlike(name, "", tuple(values), encoding in IDENTITY))
    return found
