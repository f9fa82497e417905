"""Which guests cannot arrive where: every captured guest against every host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from inspector.fleet.facts import X86
from inspector.fleet.hosts import Fleet
from inspector.fleet.relation import Blocker, Verdicts
from inspector.machine.x86.kvm.msrs import lists
from inspector.machine.x86.migrate.destination import Destination
from layouts.x86.msrs import MSR_NAMES


class Refused(NamedTuple):
    """Hosts that a guest cannot go to for the same reasons: their numbers, and captures in all."""

    hosts: tuple[int, ...]
    captures: int
    blockers: tuple[Blocker, ...]


class Checked(NamedTuple):
    """A guest, by number: how many captures of hosts take it, of how many that is not known, and who refuses it."""

    guest: int
    takes: int
    open: int
    refused: tuple[Refused, ...]


def check(
    fleet: Fleet, homes: Mapping[int, Iterable[int]], progress: Callable[[int, int], None] | None = None
) -> list[Checked]:
    """Every captured guest. ``homes`` has the store's ids of the hosts that a guest was captured on, by its id."""
    if not fleet.guests:
        return []
    verdicts = Verdicts(fleet.relation(fleet.captured()), progress)
    numbers = {kept.id: number for number, kept in enumerate(fleet.hosts)}
    listed = _Listed(fleet.machines) if fleet.arch == X86 else None
    found = []
    for guest, kept in enumerate(fleet.guests):
        home = [numbers[one] for one in homes.get(kept.id, ()) if one in numbers]
        others = frozenset(kept.facts.get("other_msrs", ()))
        takes = open_ = 0
        refused: dict[tuple[Blocker, ...], list[int]] = {}
        for host, row in enumerate(fleet.hosts):
            pair = verdicts[guest, host]
            gone = listed.gone(others, home, host) if listed is not None else ()
            if pair.answer == "no" or gone:
                reasons = verdicts.blockers(pair) if pair.answer == "no" else ()
                refused.setdefault((*reasons, *gone), []).append(host)
            elif pair.answer == "open":
                open_ += row.captures
            else:
                takes += row.captures
        rows = (
            Refused(tuple(hosts), sum(fleet.hosts[one].captures for one in hosts), why)
            for why, hosts in refused.items()
        )
        found.append(Checked(guest, takes, open_, tuple(sorted(rows, key=lambda one: -one.captures))))
    return found


class _Listed:
    """The MSRs that each host's KVM lists: those that a VMM saves and sets (KVM_GET_MSR_INDEX_LIST)."""

    def __init__(self, machines: Iterable[Any]) -> None:
        self._machines: list[Destination] = list(machines)
        self._by_host: dict[int, frozenset[int]] = {}

    def _of(self, host: int) -> frozenset[int]:
        if host not in self._by_host:
            kvm = self._machines[host].kvm
            self._by_host[host] = frozenset((*lists.saved(kvm, kvm.msr_rules), *lists.emulated(kvm)))
        return self._by_host[host]

    def gone(self, msrs: frozenset[int], homes: Iterable[int], host: int) -> tuple[Blocker, ...]:
        """MSRs of a guest that the host where it was captured lists, and this one does not."""
        listed = {one for home in homes for one in self._of(home) & msrs} - self._of(host)
        return tuple(Blocker(f"MSR.{one:X}", MSR_NAMES.get(one, f"MSR {one:#x}"), "listed") for one in sorted(listed))
