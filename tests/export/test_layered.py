"""Where boxes and arrows of a picture stand, and how names are made short."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest

from inspector.export.layered import layered
from inspector.export.shorten import middle_cut, shared, without

Room = tuple[float, float, float, float]


def tree(count: int) -> list[list[int]]:
    chosen = random.Random(count)
    return [
        sorted(chosen.sample(range(one + 1, count), min(count - one - 1, chosen.randrange(3)))) for one in range(count)
    ]


def overlap(one: Room, other: Room) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("below", [[[1, 2], [3], [3], []], [[1, 2], [2], [], []], tree(12), tree(40)], ids=len)
def test_no_box_on_another_and_no_arrow_through_one(below: list[list[int]]) -> None:
    sizes = [(100.0 + 7 * (at % 5), 40.0 + 9 * (at % 3)) for at in range(len(below))]
    found = layered(sizes, below)
    rooms = {at: (x, y, x + sizes[at][0], y + sizes[at][1]) for at, (x, y) in found.boxes.items()}
    assert len(rooms) == len(below)
    for one, other in combinations(rooms.values(), 2):
        assert not overlap(one, other)
    assert found.arrows.keys() == {(one, other) for one, others in enumerate(below) for other in others}
    for (upper, lower), line in found.arrows.items():
        assert line[0][1] == rooms[upper][3]
        assert line[-1][1] == rooms[lower][1]
        for (x1, y1), (x2, y2) in pairwise(line):
            hull = min(x1, x2), y1, max(x1, x2), y2
            assert not [room for room in rooms.values() if overlap(room, hull)]
    assert all(x0 >= 0 and x1 <= found.width and y1 <= found.height for x0, _, x1, y1 in rooms.values())


def test_what_goes_round_ends() -> None:
    assert len(layered([(10.0, 10.0)] * 3, [[1], [2], [0]]).boxes) == 3


def test_no_box_at_all() -> None:
    assert layered([], []) == ({}, {}, 0, 0)


@pytest.mark.parametrize(
    ("names", "ends"),
    [
        (["/a/b/one.json", "/a/b/two.json"], ("/a/b/", ".json")),
        (["rack1.dc.example", "rack2.dc.example"], ("", ".dc.example")),
        (["sample:x/6.1", "sample:y/6.1"], ("sample:", "/6.1")),
        (["/a/one", "/a/one/two"], ("/a/", "")),
        (["/a/.json", "/a/x.json"], ("/a/", "")),
        (["alone"], ("", "")),
        (["", "a"], ("", "")),
    ],
)
def test_what_names_have_in_common(names: list[str], ends: tuple[str, str]) -> None:
    assert shared(names) == ends
    assert all(without(name, ends) for name in names if name)
    assert without("/b/other", ("/a/", "")) == "/b/other"


def test_the_middle_goes() -> None:
    text = "fingerprint_INTEL_CASCADELAKE_5.10host"
    assert middle_cut(text, 100) == text
    assert middle_cut(text, 20) == "fingerp…KE_5.10host"[:7] + "…" + text[-12:]
    assert [len(middle_cut(text, width)) for width in (0, 1, 2, 37, 38)] == [0, 1, 2, 37, 38]
