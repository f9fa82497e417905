"""What comes next after an answer: entries that fit, what is in their braces, and where their steps happen."""

from __future__ import annotations

import errno
from typing import Any, cast

import pytest

from inspector.machine.offers import fitting
from inspector.machine.outcome import Outcome, Rule, Step
from inspector.machine.world import WorldStep
from layouts.next_step import NextStep

KERNELS = ("5.10", "6.1", "6.12", "not yet numbered", "7.2")


def refused(check: str | None, code: int = errno.EINVAL) -> Outcome:
    rule = Rule("a function")
    if check is not None:
        rule.check("what held", held=True)
        rule.check(check, held=False)
    return rule.refuse(code)


def steps(
    event: str, *texts: str, check: str | None = "it is there", because: str = "", on: str = "", answer: str = "EINVAL"
) -> list[tuple[str, ...]]:
    """The steps of an entry, where it fits."""
    entry = NextStep(answer, on, because, texts, "what they do", "why")
    found = fitting((entry,), cast("WorldStep[Any]", Step(event, refused(check))), {"vm": "3"}, KERNELS)
    return [one.steps for one in found]


@pytest.mark.parametrize(
    ("fits", "what"),
    [
        (True, {}),
        (True, {"because": "is there$"}),
        (False, {"because": "what held"}),
        (False, {"because": "is not"}),
        (True, {"on": "KVM_RUN"}),
        (False, {"on": "guest"}),
        (True, {"answer": "E.*"}),
        (False, {"answer": "EINVA"}),
        (False, {"check": None}),
        (False, {"check": None, "because": "X*"}),
    ],
)
def test_an_entry_fits_the_answer_the_event_and_the_check(fits: bool, what: dict[str, Any]) -> None:
    assert steps("KVM_RUN", "undo", **what) == ([("undo",)] if fits else [])


def test_what_is_in_braces() -> None:
    assert steps("KVM_RUN vcpu=1", "{again}", "first {again}", "first vm {vm}") == [
        ("KVM_RUN vcpu=1", "first KVM_RUN vcpu=1", "first vm 3")
    ]
    assert steps("KVM_X 5", "first {n}{none}.", on=r"KVM_X (?P<n>\d)(?P<none>z)?") == [("first 5.",)]
    assert steps("KVM_X", "first {what}", because="it is (?P<what>.*)") == [("first there",)]


@pytest.mark.parametrize(
    ("since", "kernel"),
    [("5.4", "5.10"), ("6.1", "6.1"), ("6.2", "6.12"), ("6.13", "7.2"), ("7.3", "7.3"), ("x", "5.10")],
)
def test_a_release_is_the_first_kernel_from_there_on(since: str, kernel: str) -> None:
    assert steps("KVM_X", "place kernel={release}", check=f"since {since}", because="since (?P<release>.*)") == [
        (f"place kernel={kernel}",)
    ]


@pytest.mark.parametrize(
    ("step", "made"),
    [
        ("KVM_RUN", "KVM_RUN vcpu=1 cpu=2 host=1 vm=4 thread=3"),
        ("guest fadd", "guest fadd vcpu=1 cpu=2 host=1 vm=4 thread=3"),
        ("process ldtilecfg", "process ldtilecfg vcpu=1 cpu=2 host=1 vm=4 thread=3"),
        ("KVM_RUN vm=5", "KVM_RUN vm=5 host=1"),
        ("undo", "undo"),
        ("first KVM_RUN", "first KVM_RUN"),
        ("guests", "guests"),
    ],
)
def test_a_step_happens_where_the_event_did(step: str, made: str) -> None:
    assert steps("KVM_X value=1 vcpu=1 cpu=2 host=1 vm=4 thread=3", step) == [(made,)]


def test_where_an_event_happens_may_stand_anywhere() -> None:
    assert steps("vcpu=1 KVM_X cpu=2 5", "{again}", "first {n}", on=r"^KVM_X (?P<n>\d)$") == [
        ("vcpu=1 KVM_X cpu=2 5", "first 5")
    ]


def test_each_entry_says_what_it_does_and_why() -> None:
    table = [NextStep("EINVAL", "", "", (f"first {one}",), f"text {one}", f"source {one}") for one in "ab"]
    found = fitting(table, cast("WorldStep[Any]", Step("KVM_RUN", refused("it is there"))), {}, KERNELS)
    assert list(found) == [(("first a",), "text a", "source a"), (("first b",), "text b", "source b")]
