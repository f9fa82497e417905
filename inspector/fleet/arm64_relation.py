"""arm64 guests and hosts, pair by pair: each distinct value of a register is put to each host once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inspector.fleet.arm64 import guest_on
from inspector.fleet.relation import Blocker, Pair
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.migrate import Migration, migrate
from layouts.arm64 import ids
from layouts.arm64.ids import RegisterId

#: The calls before the registers are the same for guests with the same features and vector lengths.
_Kind = tuple[int, int]


class _Told(NamedTuple):
    """What a host says to the guests of a kind, as bits of values: refused, and hanging on what is not known."""

    refused: int
    open: int
    #: The calls before the registers: in the way, and open.
    start: tuple[Blocker, ...]
    hangs: tuple[Blocker, ...]


class Arm64Relation:
    """Guests against hosts; without ``guests`` those are what each host gives at most, under its number."""

    def __init__(self, hosts: Sequence[Host], guests: Sequence[State] | None = None) -> None:
        self.states = [guest_on(host) for host in hosts] if guests is None else list(guests)
        self.machines = list(hosts)
        self.hosts = [host.name for host in hosts]
        self.guests = [state.name for state in self.states]
        self._is_own = guests is None
        #: Every distinct value of a register, and its bit.
        self._numbers: dict[tuple[int, bytes], int] = {}
        self._values = [self._number(state) for state in self.states]
        self._layers: dict[_Kind, list[dict[int, bytes]]] = {}
        self._told: dict[tuple[int, _Kind], _Told] = {}
        self._why: dict[tuple[int, int], tuple[Blocker, ...]] = {}

    def _number(self, state: State) -> int:
        found = 0
        for one in state.registers.items():
            found |= 1 << self._numbers.setdefault(one, len(self._numbers))
        return found

    def pair(self, guest: int, host: int) -> Pair:
        """The verdict on a guest and a host."""
        state, values = self.states[guest], self._values[guest]
        kind = state.features, state.vqs
        told = self._ask(host, kind)
        if told.start or values & told.refused:
            return Pair("no", (host, kind, values & told.refused, False))
        if told.hangs or values & told.open:
            return Pair("open", (host, kind, values & told.open, True))
        return Pair("yes")

    def _ask(self, host: int, kind: _Kind) -> _Told:
        found = self._told.get((host, kind))
        if found is None:
            found = self._told[host, kind] = self._asked(host, kind)
        return found

    def _asked(self, host: int, kind: _Kind) -> _Told:
        """Every distinct value of the guests of a kind, as few states as hold all of them."""
        refused = open_ = 0
        features, vqs = kind
        machine = self.machines[host]
        bare = migrate(State("", {}, features, vqs), machine)
        start = tuple(Blocker(step.event, step.event, "call") for step in bare.failures)
        hangs = tuple(Blocker(one.name, one.name, "at_most") for one in bare.open)
        for layer in self._layers_of(kind):
            made = migrate(State("", layer, features, vqs), machine)
            for register_id, reasons in _in_the_way(made).items():
                number = self._numbers[register_id, layer[register_id]]
                refused |= 1 << number
                self._why[host, number] = reasons
            for register_id, reasons in _hanging(made).items():
                number = self._numbers[register_id, layer[register_id]]
                open_ |= 1 << number
                self._why.setdefault((host, number), reasons)
        return _Told(refused, open_ & ~refused, start, hangs)

    def _layers_of(self, kind: _Kind) -> list[dict[int, bytes]]:
        """States that together have every value of the registers of a kind of guests."""
        if kind not in self._layers:
            values: dict[int, dict[bytes, None]] = {}
            for state in self.states:
                if (state.features, state.vqs) == kind:
                    for register_id, data in state.registers.items():
                        if register_id != ids.SVE_VLS:
                            values.setdefault(register_id, {})[data] = None
            lists = {register_id: list(found) for register_id, found in values.items()}
            most = max(map(len, lists.values()), default=0)
            self._layers[kind] = [
                {one: found[at] for one, found in lists.items() if at < len(found)} for at in range(most)
            ]
        return self._layers[kind]

    def blockers(self, key: object) -> tuple[Blocker, ...]:
        """The fields of the registers in the way, or what the answer hangs on."""
        assert isinstance(key, tuple)
        host, kind, values, is_open = key
        told = self._told[host, kind]
        found = dict.fromkeys(told.hangs if is_open else told.start)
        for number in range(values.bit_length()):
            if values >> number & 1:
                found |= dict.fromkeys(self._why[host, number])
        return tuple(found)

    def same(self, host: int) -> object:
        """What the host says to every kind of guest, and what its own guests have."""
        kinds = sorted({(state.features, state.vqs) for state in self.states})
        told = tuple(self._ask(host, kind) for kind in kinds)
        return told, self._values[host] if self._is_own else None


def _in_the_way(made: Migration) -> dict[int, tuple[Blocker, ...]]:
    """By register id: the fields that the destination refuses, or the register that it does not have."""
    found: dict[int, tuple[Blocker, ...]] = {one: (_whole(made, one, "is not there"),) for one in made.unknown}
    for step in made.failures:
        if step.register_id and step.register_id != ids.SVE_VLS:
            fields = tuple(
                Blocker(f"id.{field.place.register}.{field.place.name}", field.name, "at_most") for field in step.fields
            )
            found[step.register_id] = fields or (_whole(made, step.register_id, "equal"),)
    return found


def _hanging(made: Migration) -> dict[int, tuple[Blocker, ...]]:
    found: dict[int, tuple[Blocker, ...]] = {
        step.register_id: (_whole(made, step.register_id, "equal"),) for step in made.undecided
    }
    for one in made.open:
        if one.place is not None:
            register_id = ids.sysreg_id(one.place.encoding)
            where = f"id.{one.place.register}.{one.place.name}"
            found[register_id] = (*found.get(register_id, ()), Blocker(where, one.name, "at_most"))
    return {one: reasons for one, reasons in found.items() if one in made.state.registers}


def _whole(made: Migration, register_id: int, rule: str) -> Blocker:
    found = RegisterId(register_id)
    name = made.host.kernel.register_name(found.encoding) if found.is_sysreg else f"register {register_id:#x}"
    return Blocker(name, name, rule)
