"""One x86 model on two hosts: whether its guests move between them, why not, and what is not the same in them."""

from __future__ import annotations

from inspector.machine.x86.migrate.model_moves import Place, moves, unlike
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_realization, realized
from layouts.x86.models.features import features

NAMES = ("EPYC-Milan", "EPYC-Rome")


def on(line: str, name: str) -> Place:
    host = destination_of(name, "", NO_OPTIONS)
    made = realized(line, host.offer)
    return Place(name, made, guest_of_realization(line, made, "6.18"), host)


def test_a_model_that_both_have_is_one_guest_and_moves() -> None:
    places = [on("EPYC-Rome", name) for name in NAMES]
    found = moves(places)
    assert [(move.source.name, move.destination.name) for move in found] == [NAMES, NAMES[::-1]]
    assert [(move.arrives, move.why) for move in found] == [(True, ""), (True, "")]
    assert unlike(places) == []


def test_a_model_that_one_has_not_whole_is_two_guests() -> None:
    """PKU is Milan's: a guest that has it loses it where QEMU starts the same line without it."""
    places = [on("EPYC-Milan", name) for name in NAMES]
    down, up = moves(places)
    assert (down.arrives, up.arrives) == (False, True)
    assert down.why.startswith("another guest there: the guest loses ")
    assert down.made.made is places[1].made
    found = {one.feature: one for one in unlike(places)}
    assert found["pku"] == ("pku", features()["pku"][0], (1, 0))
    assert {one.values for one in found.values()} == {(1, 0)}
    assert all(one.bit == features()[name][0] for name, one in found.items())


def test_a_feature_of_two_of_three_is_not_the_same_everywhere() -> None:
    places = [on(line, "EPYC-Milan") for line in ("EPYC-Milan", "EPYC-Milan,-pku,-kvmclock", "EPYC-Milan")]
    found = {one.feature: one.values for one in unlike(places)}
    assert found == {"pku": (1, 0, 1), "kvmclock": (1, 0, 1)}
    assert [one.bit.number for one in unlike(places) if one.feature == "kvmclock"] == [0]
