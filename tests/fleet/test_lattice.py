"""Classes, pools, what splits them, and what they have in common."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import pytest

from inspector.fleet import x86
from inspector.fleet.common import merged
from inspector.fleet.lattice import lattice
from inspector.fleet.relation import Blocker, Pair
from inspector.machine.x86.models.baseline import baseline
from inspector.machine.x86.models.offer import Offer
from tests.fleet.fleets import hosts_of, shipped


class Sets:
    """Hosts that are sets of features: a guest goes where all of its host's are."""

    def __init__(self, *hosts: str) -> None:
        self.hosts: Sequence[str] = hosts
        self.guests: Sequence[str] = hosts

    def pair(self, guest: int, host: int) -> Pair:
        missing = set(self.guests[guest]) - set(self.hosts[host])
        return Pair("no", "".join(sorted(missing))) if missing else Pair("yes")

    def blockers(self, key: object) -> tuple[Blocker, ...]:
        return tuple(Blocker(name, name, "and") for name in str(key))

    def same(self, host: int) -> object:
        return self.hosts[host]


def test_classes_and_pools() -> None:
    found = lattice(Sets("ab", "abc", "ab", "d", ""), [1, 2, 3, 1, 1])
    assert [(one.hosts, one.captures) for one in found.classes] == [((0, 2), 4), ((1,), 2), ((3,), 1), ((4,), 1)]
    assert found.pools == ((0,), (1,), (2,), (3,))
    assert found.above == ((1,), (), (), (0, 2)), "the empty host's guests reach pool 1 by way of pool 0"
    assert found.may(0, 1) == "yes"
    assert [one.name for one in found.blockers(1, 0)] == ["c"]


def test_what_splits_them() -> None:
    found = lattice(Sets("ab", "abc", "abcd"), [10, 5, 1])
    first = found.splits[0]
    assert (first.blocker.name, first.alone, first.pairs, first.pools) == ("c", 50, 60, 2)
    assert [(one.blocker.name, one.alone, one.pairs) for one in found.splits[1:]] == [("d", 5, 15)]
    assert lattice(Sets("a", "a"), [1, 1]).splits == ()


@pytest.mark.parametrize("seed", range(20))
def test_pools_are_as_few_as_there_can_be(seed: int) -> None:
    """Moving both ways is an equivalence here, so that its classes are the smallest set of pools."""
    chosen = random.Random(seed)
    hosts = ["".join(sorted(chosen.sample("abcde", chosen.randrange(4)))) for _ in range(9)]
    found = lattice(Sets(*hosts), [1] * 9)
    assert len(found.pools) == len(set(hosts))
    for source, pool in enumerate(found.pools):
        reach, todo = {source}, [source]
        while todo:
            for target in found.above[todo.pop()]:
                if target not in reach:
                    reach.add(target)
                    todo.append(target)
        first = set(hosts[found.classes[pool[0]].first])
        expected = {
            other for other, those in enumerate(found.pools) if first <= set(hosts[found.classes[those[0]].first])
        }
        assert reach == expected


def test_one_host_stands_for_all() -> None:
    """The baseline of the merged offer is the baseline of the offers."""
    on_x86, _ = hosts_of([one for one in shipped() if "lake" in one or "rapids" in one])
    offers: list[Offer] = [x86.destination_of(name, facts).offer for name, facts in on_x86]
    all_of_them, one = baseline(offers), baseline([merged(offers)])
    assert one.common == all_of_them.common
    assert [(row.model, row.words, row.unknown) for row in one.ranked] == [
        (row.model, row.words, row.unknown) for row in all_of_them.ranked
    ]


def test_what_a_merged_host_has() -> None:
    on_x86, _ = hosts_of(shipped())
    offers = [x86.destination_of(name, facts).offer for name, facts in on_x86]
    for one, other in list(product(offers, offers))[::41]:
        both = merged([one, other])
        for feature in ("avx2", "vmx", "svm", "erms", "amx-tile", "rdctl-no"):
            says = {one.has(feature), other.has(feature)}
            assert both.has(feature) is (False if False in says else None if None in says else True), feature
