"""What a kernel upgrade on some hosts does to guests: which can go to fewer hosts afterwards than before.

Two guests are asked about: one that runs now, and one that is started anew on an upgraded host with all that it then
gives. What the newer kernel shows there for the first time is what pins it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from inspector.capture.errors import UsageError
from inspector.capture.host import CpuidValues
from inspector.fleet import arm64, x86
from inspector.fleet.facts import X86, Document, cpuid_of_rows, release_of, rows_of
from inspector.fleet.hosts import Fleet
from inspector.fleet.relation import Blocker, Verdicts
from inspector.fleet.store import Kept
from inspector.machine.x86.kvm.module import Processor
from inspector.machine.x86.kvm.upgrade import upgrade
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.places import feature_words
from inspector.targets.x86_upgrade import named_cpu
from layouts.kernels import release_numbers
from layouts.x86.features import REGISTERS

RUNNING, RESTARTED = "running", "restarted"


class Gone(NamedTuple):
    """Hosts that took a guest before the upgrade and do not after it, for the same reasons; captures in all."""

    hosts: tuple[str, ...]
    captures: int
    blockers: tuple[Blocker, ...]


class Pinned(NamedTuple):
    """A guest that can go to fewer hosts. ``when`` is RUNNING or RESTARTED; ``captures`` are how many are like it.

    ``before`` and ``after`` count the captures of hosts that take it, for all that is known. ``gone`` are those that do
    no longer, ``maybe`` those that do not if the CPU has what the older kernel does not tell.
    """

    name: str
    when: str
    captures: int
    before: int
    after: int
    gone: tuple[Gone, ...]
    maybe: tuple[Gone, ...] = ()


class Forecast(NamedTuple):
    """What comes of an upgrade: how many captures of hosts are upgraded, and who is pinned, the most guests first.

    ``asked`` counts guests that were asked about, ``guessed`` hosts of whose CPU only what the older kernel showed is
    known.
    """

    kernel: str
    upgraded: int
    asked: int
    guessed: int
    pinned: tuple[Pinned, ...]


class _Part(NamedTuple):
    """Hosts after the upgrade that were the same before: their number before, the machine, how many captures."""

    before: int
    machine: Any
    captures: int
    name: str
    is_upgraded: bool = False


def forecast(
    fleet: Fleet, kernel: str, chosen: Mapping[int, int], progress: Callable[[int, int], None] | None = None
) -> Forecast:
    """The upgrade of so many captures of each host in ``chosen``, by the store's id.

    Where no guest was captured, one with all that its host gives stands for those that run. Raises UsageError for a
    kernel that no profile answers for. A host that has this kernel or a newer one stays as it is.
    """
    if release_numbers(kernel) is None:
        raise UsageError(f"--kernel {kernel}: expected a release of Linux, as 7.3")
    numbers = [
        number for number, kept in enumerate(fleet.hosts) if chosen.get(kept.id) and _is_older(kept.facts, kernel)
    ]
    newer = {number: _upgraded(fleet.hosts[number], fleet.machines[number], kernel) for number in numbers}
    parts = _parts(fleet, newer, chosen)
    own = [_guest_on(fleet, machine) for machine in fleet.machines]
    running, kept = (fleet.captured(), fleet.guests) if fleet.guests else (own, fleet.hosts)
    tell = _steps(progress, 2 * len(running) + 3 * len(numbers))
    found = [
        Pinned(one.name, RUNNING, one.captures, *counted)
        for one, counted in zip(kept, _counted(fleet, parts, tell, running, running), strict=True)
    ]
    again = _counted(
        fleet,
        parts,
        tell,
        [own[one] for one in numbers],
        [_guest_on(fleet, newer[one]) for one in numbers],
        [_guest_on(fleet, newer[one], most=True) for one in numbers],
    )
    for number, counted in zip(numbers, again, strict=True):
        host = fleet.hosts[number]
        found.append(Pinned(host.name, RESTARTED, chosen[host.id], *counted))
    guessed = [fleet.hosts[number] for number in numbers if _is_guessed(fleet.hosts[number].facts)]
    return Forecast(
        kernel,
        sum(chosen[fleet.hosts[number].id] for number in numbers),
        sum(one.captures for one in found),
        sum(chosen[one.id] for one in guessed),
        tuple(
            sorted((one for one in found if one.gone or one.maybe), key=lambda one: (-one.captures, one.when, one.name))
        ),
    )


def _parts(fleet: Fleet, newer: Mapping[int, Any], chosen: Mapping[int, int]) -> list[_Part]:
    found = []
    for number, kept in enumerate(fleet.hosts):
        upgraded = chosen.get(kept.id, 0) if number in newer else 0
        if kept.captures > upgraded:
            found.append(_Part(number, fleet.machines[number], kept.captures - upgraded, kept.name))
        if upgraded:
            found.append(_Part(number, newer[number], upgraded, f"{kept.name} upgraded", is_upgraded=True))
    return found


_Counted = tuple[int, int, tuple[Gone, ...], tuple[Gone, ...]]


def _steps(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int, int], None]:
    """What several rounds of verdicts tell, as one."""
    steps = count(1)

    def tell(_done: int, _of: int) -> None:
        if progress is not None:
            progress(next(steps), total)

    return tell


def _counted(
    fleet: Fleet,
    parts: Sequence[_Part],
    tell: Callable[[int, int], None],
    guests: Sequence[Any],
    later: Sequence[Any],
    most: Sequence[Any] = (),
) -> list[_Counted]:
    """For each guest: the captures of hosts that take it before and after, who does no longer, and who may not.

    ``later`` are the guests after the upgrade, ``most`` the same with all that they may have then.
    """
    before = Verdicts(fleet.relation(guests), tell)
    upgraded = fleet._replace(machines=tuple(part.machine for part in parts))
    after = Verdicts(upgraded.relation(later), tell)
    at_most = Verdicts(upgraded.relation(most), tell) if most else after
    found = []
    for guest in range(len(guests)):
        took = [before[guest, number].answer != "no" for number in range(len(fleet.hosts))]
        gone: dict[tuple[Blocker, ...], list[_Part]] = {}
        maybe: dict[tuple[Blocker, ...], list[_Part]] = {}
        takes = 0
        for at, part in enumerate(parts):
            pair, likely = after[guest, at], at_most[guest, at]
            takes += part.captures if pair.answer != "no" else 0
            if pair.answer == "no" and took[part.before]:
                gone.setdefault(after.blockers(pair), []).append(part)
            elif pair.answer == "open" and before[guest, part.before].answer == "yes":
                maybe.setdefault(after.blockers(pair), []).append(part)
            elif likely.answer == "no" and took[part.before] and not part.is_upgraded:
                # What the CPU has beyond what is known, hosts that are upgraded as well have too, or nobody can say.
                maybe.setdefault(at_most.blockers(likely), []).append(part)
        taken = sum(kept.captures for kept, one in zip(fleet.hosts, took, strict=True) if one)
        found.append((taken, takes, _rows(gone), _rows(maybe)))
    return found


def _rows(found: Mapping[tuple[Blocker, ...], Sequence[_Part]]) -> tuple[Gone, ...]:
    rows = (
        Gone(tuple(part.name for part in those), sum(part.captures for part in those), why)
        for why, those in found.items()
    )
    return tuple(sorted(rows, key=lambda one: -one.captures))


def _guest_on(fleet: Fleet, machine: Any, *, most: bool = False) -> Any:
    return x86.guest_on(machine, most=most) if fleet.arch == X86 else arm64.guest_on(machine)


# Hosts under a newer kernel


def _is_guessed(facts: Document) -> bool:
    """Of the CPU only what the older kernel showed to guests is known."""
    if facts["arch"] == X86:
        return "there" in facts or facts["cpuid"] is None
    return "words" not in facts


def _is_older(facts: Document, kernel: str) -> bool:
    """The host runs an older kernel, or nobody told which."""
    here = release_numbers(facts["kernel"])
    return here is None or here < (release_numbers(kernel) or (0, 0))


def _upgraded(kept: Kept, machine: Any, kernel: str) -> Any:
    facts = kept.facts
    older = facts["kernel"] or machine.kernel.name
    if facts["arch"] == X86:
        return _predicted(kept.name, facts, older, kernel)
    return arm64.host_of(kept.name, facts, kernel)


def _predicted(name: str, facts: Document, older: str, newer: str) -> Destination:
    """A host by its own CPUID under the newer kernel; by what it showed to guests, with what it shows them then."""
    if "there" in facts or facts["cpuid"] is not None:
        return x86.destination_of(name, facts if "there" in facts else {**facts, "supported": None}, newer)
    key = "supported" if facts["supported"] is not None else "guest"
    shown = cpuid_of_rows(facts[key])
    assert shown is not None
    found = upgrade(shown, older, newer, named=named_cpu(shown), processor=Processor(msrs=dict(facts["msrs"])))
    made = x86.destination_of(name, {**facts, key: rows_of(found.cpuid.leaves), "kernel": release_of(newer)}, newer)
    made.unknown = {
        place: _features(place, values) for place, values in found.unknown.items() if any(_features(place, values))
    }
    return made


def _features(key: tuple[int, int], values: CpuidValues) -> CpuidValues:
    """The bits of a row that are features."""
    eax, ebx, ecx, edx = (
        value if (*key, register) in feature_words() else 0 for value, register in zip(values, REGISTERS, strict=True)
    )
    return eax, ebx, ecx, edx
