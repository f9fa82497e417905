"""Answers about a fleet as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inspector.export.models import wrapped
from inspector.fleet.adding import Added
from inspector.fleet.checked import Checked
from inspector.fleet.common import Common
from inspector.fleet.forecast import Forecast, Gone, Pinned
from inspector.fleet.hosts import Fleet, title
from inspector.fleet.lattice import Lattice, Split
from inspector.fleet.odd import Odd
from inspector.fleet.relation import Blocker
from inspector.fleet.store import Counts

#: So many of a list are told, then how many more there are.
_SHOWN = 6
_MOST_ROWS = 40
#: How two values of a bit or field go together, by rule.
HOW = {
    "and": "the host has to have it",
    "equal": "it has to be the same",
    "at_most": "the host's has to reach the guest's",
    "or": "it is a warning",
    "call": "the call is refused",
    "listed": "the host's KVM does not list it",
}


def counted(number: int, what: str) -> str:
    """``1 host``, ``3 hosts``."""
    return f"{number} {what}{'' if number == 1 else 'es' if what.endswith('ss') else 's'}"


def some(names: Sequence[str], more: int = 0, most: int = _SHOWN) -> str:
    """The first of a list and how many more there are; ``more`` are those that are not in it."""
    left = max(0, len(names) - most) + more
    shown = ", ".join(names[:most])
    return f"{shown} and {left} more" if left else shown


def blocked_by(blockers: Sequence[Blocker]) -> str:
    """What is in the way, in a line; the places of one name stand once."""
    names = list(dict.fromkeys(str(one) if one.name != "vendor" else "vendor" for one in blockers))
    return some(names)


def added_text(found: Added, counts: Counts, faults: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What was added, and what is there now."""
    skipped = f", {found.skipped} skipped as they were there" if found.skipped else ""
    yield f"{counted(found.read, 'capture')} read, {found.new} new{skipped}"
    yield (
        f"the store has {counted(counts.captures, 'capture')} of {counted(counts.names, 'name')}: "
        f"{counts.hosts} distinct hosts, {counts.guests} distinct guests"
    )
    if counts.faults:
        yield f"{counted(counts.faults, 'target')} could not be read"
        yield from (f"  {fault}" for _, fault in faults)


def lattice_text(fleet: Fleet, found: Lattice, common: Sequence[Common], names: Sequence[str]) -> Iterator[str]:
    """Classes by pool, who can move where, what keeps apart, the best for all. ``names`` are those of each class."""
    hosts = sum(one.captures for one in found.classes)
    yield (
        f"{fleet.arch}: {counted(hosts, 'host')}, {len(fleet.hosts)} distinct, in "
        f"{counted(len(found.classes), 'class')} and {counted(len(found.pools), 'pool')}"
    )
    for number, pool in enumerate(found.pools[:_MOST_ROWS]):
        above = found.above[number]
        to = f" ─► pool {some([str(one + 1) for one in above])}" if above else ""
        yield f"  pool {number + 1}, {counted(sum(found.classes[one].captures for one in pool), 'host')}{to}"
        for one in pool:
            yield f"    class {one + 1}: {counted(found.classes[one].captures, 'host')}, {names[one]}"
    if len(found.pools) > _MOST_ROWS:
        yield f"  and {len(found.pools) - _MOST_ROWS} more pools (--json and --svg have all)"
    yield from _splits(found)
    yield from _in_common(fleet, found, common, most=2 * _SHOWN)


def class_title(fleet: Fleet, found: Lattice, number: int, names: Sequence[str]) -> str:
    """A class in a line: what its hosts are, and the first of their names."""
    one = found.classes[number]
    return f"{title(fleet.hosts[one.first].facts)}: {some(names, max(0, one.captures - len(names)))}"


def _splits(found: Lattice) -> Iterator[str]:
    if not found.splits:
        return
    first = found.splits[0]
    yield f"  what splits them first: {first.blocker}, {HOW.get(first.blocker.rule, first.blocker.rule)}"
    yield from (f"    {line}" for line in map(split_text, found.splits[:_SHOWN]))


def split_text(one: Split) -> str:
    """A bit that splits, in a line."""
    alone = f"alone in the way of {counted(one.alone, 'pair')} of hosts" if one.alone else "never alone"
    pools = f"; {counted(one.pools, 'pool')} without it" if one.alone else ""
    return f"{one.blocker}: {alone}, of {one.pairs}{pools}"


def baseline_text(fleet: Fleet, found: Lattice, common: Sequence[Common]) -> Iterator[str]:
    """The best guest for each group of classes that can share one, and what each class loses by it."""
    return _in_common(fleet, found, common, most=1 << 16)


def _in_common(fleet: Fleet, found: Lattice, common: Sequence[Common], most: int) -> Iterator[str]:
    for one in common[:_MOST_ROWS]:
        hosts = sum(found.classes[number].captures for number in one.classes)
        which = some([str(number + 1) for number in one.classes], most=12)
        yield f"  {fleet.arch}: one guest for {counted(hosts, 'host')} of class {which}"
        words = [word for word in (one.model, *one.words) if word] or ["no named model"]
        more = [f"and {len(words) - most} more (fleet baseline)"] if len(words) > most else []
        yield from wrapped("   ", [*words[:most], *more])
        if one.unknown:
            yield f"    hangs on {some(one.unknown)}, of which some record does not tell"
        for number in one.classes:
            lost = one.lost.get(number, ())
            if lost:
                yield f"    class {number + 1} gives up {len(lost)}: {some(lost)}"


def check_text(fleet: Fleet, rows: Sequence[Checked]) -> Iterator[str]:
    """Each guest: how many hosts take it, and who does not and why."""
    for row in rows:
        kept = fleet.guests[row.guest]
        more = f" and {kept.captures - 1} more" if kept.captures > 1 else ""
        open_ = f", {row.open} hang on what is not known" if row.open else ""
        refuse = sum(one.captures for one in row.refused)
        taken = f"taken by {counted(row.takes, 'host')}, refused by {refuse}{open_}"
        yield f"{fleet.arch} guest of {kept.name}{more}: {taken}"
        for one in row.refused[:_SHOWN]:
            names = [fleet.hosts[host].name for host in one.hosts]
            yield f"  {some(names, one.captures - len(names), 3)}: {blocked_by(one.blockers)}"
        if len(row.refused) > _SHOWN:
            yield f"  and {len(row.refused) - _SHOWN} more reasons (--json has all)"


def forecast_text(fleet: Fleet, found: Forecast) -> Iterator[str]:
    """Who is pinned by an upgrade, where, and by what."""
    certain = sum(one.captures for one in found.pinned if one.gone)
    perhaps = sum(one.captures for one in found.pinned if not one.gone)
    yield (
        f"{fleet.arch}: Linux {found.kernel} on {counted(found.upgraded, 'host')}: {certain} of "
        f"{counted(found.asked, 'guest')} can go to fewer hosts{f', {perhaps} perhaps' if perhaps else ''}"
    )
    if found.guessed:
        yield f"  of {counted(found.guessed, 'host')} only what the older kernel showed is known"
    for one in found.pinned[:_MOST_ROWS]:
        yield from _pinned(one)
    if len(found.pinned) > _MOST_ROWS:
        yield f"  and {len(found.pinned) - _MOST_ROWS} more (--json has all)"


def _pinned(one: Pinned) -> Iterator[str]:
    more = f" and {one.captures - 1} more" if one.captures > 1 else ""
    when = "runs now" if one.when == "running" else "is started anew there"
    taken = f"taken by {counted(one.before, 'host')} before, by {one.after} after"
    yield f"  guest of {one.name}{more} that {when}: {taken}"
    yield from (f"    no more: {_gone(row)}" for row in one.gone[:_SHOWN])
    yield from (f"    perhaps no more: {_gone(row)}" for row in one.maybe[:_SHOWN])


def _gone(row: Gone) -> str:
    return f"{some(row.hosts, row.captures - len(row.hosts), 3)}: {blocked_by(row.blockers)}"


def odd_text(fleet: Fleet, rows: Sequence[Odd]) -> Iterator[str]:
    """Each host that is not as its siblings, and in what."""
    for row in rows[:_MOST_ROWS]:
        kept, norm = fleet.hosts[row.host], fleet.hosts[row.norm]
        more = f" and {row.captures - 1} more" if row.captures > 1 else ""
        yield f"{kept.name}{more}: not as {norm.name}, as most of {row.siblings} siblings ({title(norm.facts)})"
        for one in row.differences[:_SHOWN]:
            where = "" if one.where in (one.name, "kernel") else f" ({one.where})"
            yield f"  {one.name}{where}: {one.value}, theirs {one.norm}"
        if len(row.differences) > _SHOWN:
            yield f"  and {len(row.differences) - _SHOWN} more differences (--json has all)"
    if len(rows) > _MOST_ROWS:
        yield f"and {len(rows) - _MOST_ROWS} more hosts (--json has all)"
