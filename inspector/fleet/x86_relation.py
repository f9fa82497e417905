"""x86 guests and hosts, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.fleet.relation import Blocker, Pair
from inspector.fleet.x86 import guest_on
from inspector.fleet.x86_lanes import Asked, Lanes
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import Place, names_of
from layouts.light import cache

#: The field that KVM compares with what CPUs can have, not with the host.
_WIDTH = Place("cpuid", 0x80000008, 0, "eax", 15, 8)


class X86Relation:
    """Guests against hosts; without ``guests`` those are what each host gives at most, under its number."""

    def __init__(self, hosts: Sequence[Destination], guests: Sequence[Guest] | None = None) -> None:
        asking = [guest_on(host) for host in hosts] if guests is None else list(guests)
        self.destinations = list(hosts)
        self.hosts = [host.name for host in hosts]
        self.guests = [guest.name for guest in asking]
        self._lanes = Lanes(asking, hosts)
        self._asked: list[Asked] = [self._lanes.asked(guest) for guest in asking]
        self._given = [self._lanes.given(host) for host in hosts]
        self._width = [
            (guest.table.get((_WIDTH.at, _WIDTH.subleaf), (0, 0, 0, 0))[0] & _WIDTH.mask) >> _WIDTH.low
            for guest in asking
        ]
        self._takes: dict[tuple[int, int], bool] = {}

    def pair(self, guest: int, host: int) -> Pair:
        """The verdict on a guest and a host."""
        asked, given = self._asked[guest], self._given[host]
        blocked = self._lanes.blocked(asked, given)
        if not self._fits(self._width[guest], host):
            blocked |= self._lanes.mask_of(_WIDTH)
        if blocked:
            return Pair("no", blocked)
        hangs = self._lanes.hangs(asked, given)
        return Pair("open", hangs) if hangs else Pair("yes")

    def _fits(self, width: int, host: int) -> bool:
        """KVM_SET_CPUID2 takes a guest whose linear addresses have so many bits (kvm_check_cpuid, cpuid.c)."""
        found = self._takes.get((width, host))
        if found is None:
            entry = Entry(_WIDTH.at, _WIDTH.subleaf, 0, width << _WIDTH.low, 0, 0, 0)
            accepted = WholeVcpu(self.destinations[host].kvm).set_cpuid2((entry,)).accepted
            found = self._takes[width, host] = accepted
        return found

    def blockers(self, key: object) -> tuple[Blocker, ...]:
        """The bits of a number, by name."""
        assert isinstance(key, int)
        return tuple(_blocker(place, rule) for place, rule in self._lanes.places(key))

    def same(self, host: int) -> object:
        """What the host gives, and what its guests have."""
        return self._given[host], self._asked[host] if len(self._asked) == len(self._given) else None


@cache
def _blocker(place: Place, rule: str) -> Blocker:
    return Blocker(str(place), names_of(place)[0], rule)
