"""Who can move where: hosts that are the same as classes, classes between which guests move freely as pools.

A guest is one with all that its host gives. It may go from class to class where ``migrate`` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

from inspector.fleet.relation import Blocker, Pair, Relation, ToldVerdicts, Verdicts


class HostClass(NamedTuple):
    """Hosts that take the same guests and give the same: by number in the relation; ``captures`` in all."""

    hosts: tuple[int, ...]
    captures: int

    @property
    def first(self) -> int:
        """The host that stands for all."""
        return self.hosts[0]


class Split(NamedTuple):
    """A bit or field that keeps guests from hosts. Pairs are ordered pairs of captures.

    ``alone`` are the pairs in whose way nothing else is, ``pairs`` those in whose way it is; ``pools`` is how many
    pools there would be without it, of the first ``TRIED``.
    """

    blocker: Blocker
    alone: int
    pairs: int
    pools: int


class Lattice(NamedTuple):
    """Classes, and verdicts on the pairs of them; pools by numbers of classes, the largest first.

    ``above`` has for each pool those into which its guests go beside their own, without those that others of them
    lead to. ``splits``: what keeps guests away, the one that does it alone most often first.
    """

    verdicts: Verdicts | ToldVerdicts
    classes: tuple[HostClass, ...]
    pools: tuple[tuple[int, ...], ...]
    above: tuple[tuple[int, ...], ...]
    splits: tuple[Split, ...]

    def pair(self, source: int, target: int) -> Pair:
        """The verdict on a guest of one class and the hosts of another."""
        if source == target:
            return Pair("yes")
        return self.verdicts.pair(self.classes[source].hosts[0], self.classes[target].hosts[0])

    def may(self, source: int, target: int) -> str:
        """The answer of ``pair``."""
        return self.pair(source, target).answer

    def blockers(self, source: int, target: int) -> tuple[Blocker, ...]:
        """What is in the way between two classes, or what it hangs on."""
        return self.verdicts.blockers(self.pair(source, target))


#: Of so many bits it is counted how many pools there would be without them.
TRIED = 16
#: A pair is shared out among what is in its way: a bit in few pairs that has little company comes before one in all.
_SHARES = 1 << 20


def lattice(relation: Relation, counts: Sequence[int], progress: Callable[[int, int], None] | None = None) -> Lattice:
    """The lattice of hosts, whose guests are the relation's under the same numbers. ``counts``: captures of each."""
    verdicts = Verdicts(relation, progress)
    classes = _classes(relation, counts)
    blocked = _blocked(verdicts, classes)
    pools = _pools(len(classes), blocked)
    return Lattice(verdicts, classes, pools, _above(pools, blocked), _splits(classes, blocked))


def _pair(classes: Sequence[HostClass], source: int, target: int) -> tuple[int, int]:
    return classes[source].first, classes[target].first


def _classes(relation: Relation, counts: Sequence[int]) -> tuple[HostClass, ...]:
    same: dict[object, list[int]] = {}
    for host in range(len(relation.hosts)):
        same.setdefault(relation.same(host), []).append(host)
    found = [HostClass(tuple(hosts), sum(counts[host] for host in hosts)) for hosts in same.values()]
    return tuple(sorted(found, key=lambda one: (-one.captures, one.first)))


_Blocked = dict[tuple[int, int], frozenset[Blocker]]


def _blocked(verdicts: Verdicts, classes: Sequence[HostClass]) -> _Blocked:
    """The ordered pairs of classes that are not known to be free, with what is in the way or open."""
    numbers = range(len(classes))
    pairs = ((one, verdicts[_pair(classes, *one)]) for one in product(numbers, numbers) if one[0] != one[1])
    sets: dict[object, frozenset[Blocker]] = {}
    found: _Blocked = {}
    for one, pair in pairs:
        if pair.answer != "yes":
            if pair.key not in sets:
                sets[pair.key] = frozenset(verdicts.blockers(pair))
            found[one] = sets[pair.key]
    return found


def _pools(count: int, blocked: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Sets of classes between all of which guests move, as few as there can be where "moves both ways" is transitive.

    Where it is not, each class goes to the first pool of which it fits all.
    """
    #: By class those that it may not share a pool with, as bits.
    apart = [0] * count
    for one, other in blocked:
        apart[one] |= 1 << other
        apart[other] |= 1 << one
    found: list[list[int]] = []
    masks: list[int] = []
    for one in range(count):
        for at, mask in enumerate(masks):
            if not mask & apart[one]:
                found[at].append(one)
                masks[at] |= 1 << one
                break
        else:
            found.append([one])
            masks.append(1 << one)
    return tuple(map(tuple, found))


def _above(pools: Sequence[Sequence[int]], blocked: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Pools that all guests of a pool may go to, without those that one of them leads to."""
    barred = set(blocked)
    reach = [
        {
            target
            for target, others in enumerate(pools)
            if target != source and not any((one, other) in barred for one in pool for other in others)
        }
        for source, pool in enumerate(pools)
    ]
    return tuple(
        tuple(sorted(target for target in found if not any(target in reach[between] for between in found - {target})))
        for found in reach
    )


def _splits(classes: Sequence[HostClass], blocked: _Blocked) -> tuple[Split, ...]:
    pairs: Counter[Blocker] = Counter()
    alone: Counter[Blocker] = Counter()
    shares: Counter[Blocker] = Counter()
    by_one: dict[Blocker, set[tuple[int, int]]] = {}
    grouped: dict[frozenset[Blocker], list[tuple[int, int]]] = {}
    for one, found in blocked.items():
        grouped.setdefault(found, []).append(one)
    for found, those in grouped.items():
        weight = sum(classes[source].captures * classes[target].captures for source, target in those)
        for blocker in found:
            pairs[blocker] += weight
            shares[blocker] += weight * _SHARES // len(found)
        if len(found) == 1:
            (blocker,) = found
            alone[blocker], by_one[blocker] = weight, set(those)
    ranked = sorted(pairs, key=lambda one: (-alone[one], -shares[one], -pairs[one], one))
    barred = blocked.keys()
    pools = len(_pools(len(classes), barred))
    return tuple(
        Split(
            one,
            alone[one],
            pairs[one],
            len(_pools(len(classes), barred - by_one[one])) if one in by_one and at < TRIED else pools,
        )
        for at, one in enumerate(ranked)
    )
