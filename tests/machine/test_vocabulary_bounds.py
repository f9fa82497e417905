"""What both machines say an answer in: outcomes and their names, checks, words of events, shapes of records."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable

import pytest

from inspector.machine import answer, events, shapes
from inspector.machine.against import happened
from inspector.machine.answer import Answer
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from inspector.machine.outcome import (
    ESR_FP,
    ESR_SME,
    ESR_SVE,
    ESR_UNDEF,
    Check,
    MemoryFaultError,
    Outcome,
    Rule,
    Step,
)
from tests.machine.support import host_named

# Outcomes


@pytest.mark.parametrize(
    ("outcome", "name", "accepted", "result"),
    [
        (Outcome("ok", 0, (), ""), "ok", True, 100),
        (Outcome("errno", errno.EINVAL, (), ""), "EINVAL", False, errno.EINVAL),
        (Outcome("errno", errno.EOPNOTSUPP, (), ""), "EOPNOTSUPP", False, errno.EOPNOTSUPP),
        (Outcome("errno", 524, (), ""), "524", False, 524),
        (Outcome("exception", 13, (), ""), "#GP", False, 13),
        (Outcome("exception", 99, (), ""), "99", False, 99),
        (Outcome("exception", ESR_UNDEF, (), ""), "UNDEF", False, 0x0200_0000),
        (Outcome("exception", ESR_FP, (), ""), "FP trap", False, 0x1E00_0000),
        (Outcome("exception", ESR_SVE, (), ""), "SVE trap", False, 0x6600_0000),
        (Outcome("exception", ESR_SME, (), ""), "SME trap", False, 0x7600_0000),
        (Outcome("signal", signal.SIGSEGV, (), ""), "SIGSEGV", False, signal.SIGSEGV),
        (Outcome("short", 7, (), "", 3), "3 of 7", False, 7),
        (Outcome("depends-on", 0, (), ""), "depends-on", False, 0),
    ],
)
def test_names_of_outcomes(outcome: Outcome, name: str, accepted: bool, result: int) -> None:
    assert (outcome.name, outcome.accepted, outcome.result, str(outcome)) == (name, accepted, result, name)


def test_why() -> None:
    held, failed = Check("this", held=True), Check("that", held=False)
    assert Outcome("ok", 0, (), "").because == ""
    outcome = Outcome("errno", errno.EBUSY, (held, failed), "")
    assert (outcome.because, str(outcome)) == ("that", "EBUSY; this does not hold: that")
    assert str(Outcome("ok", 0, (held,), "")) == "ok"
    step = Step("an event", outcome)
    assert (step.event, step.outcome) == ("an event", outcome)


def test_a_rule_answers_in_each_way() -> None:
    def made() -> Rule:
        rule = Rule("where", "manual")
        assert rule.failed is False
        assert rule.check("one", 5) is True
        assert rule.failed is False
        assert rule.check("two", held=[]) is False
        assert rule.failed is True
        return rule

    checks = (Check("one", held=True), Check("two", held=False))
    shared = {"checks": checks, "source": "where", "evidence": "manual"}

    def expected(verdict: str, code: int = 0, value: int = 0, **other: object) -> Outcome:
        return Outcome(verdict, code, value=value, **{**shared, **other})  # type: ignore[arg-type]

    assert made().ok(3, b"x") == expected("ok", 0, 3, image=b"x")
    assert made().ok() == expected("ok")
    assert made().refuse(7) == expected("errno", 7)
    assert made().short(2, 9) == expected("short", 9, 2)
    assert made().fault(6) == expected("exception", 6)
    assert made().oops(14) == expected("host-oops", 14)
    assert made().blocked() == expected("blocked")
    assert made().signal(11, 1) == expected("signal", 11, 1)
    more = (*checks, Check("depends on it", held=False))
    assert made().depends("it") == expected("depends-on", checks=more)
    assert Rule("x").ok() == Outcome("ok", 0, (), "x", 0, b"", 0, "kernel")


@pytest.mark.parametrize(("error_code", "done"), [(0, "read"), (1, "read"), (2, "written"), (7, "written")])
def test_a_fault_of_memory(error_code: int, done: str) -> None:
    fault = MemoryFaultError(14, 0x1000, error_code)
    assert (fault.args, MemoryFaultError(13, 5).error_code) == ((14, 0x1000, error_code), 0)
    outcome = Rule("x").fault_at(fault)
    assert (outcome.verdict, outcome.code, outcome.value, outcome.error_code) == ("exception", 14, 0x1000, error_code)
    assert outcome.checks == (Check(f"the bytes at 0x1000 can be {done}", held=False),)


# Answers


def test_answers_agree_or_not() -> None:
    assert Answer("kind", "record", 1, 1, accepted=True).agrees is True
    assert Answer("kind", "record", 1, 2, accepted=True).agrees is False


def test_a_record_of_an_unknown_kind_is_one_that_is_not_asked() -> None:
    found = answer.unknown("kind")
    assert (found.kind, found.answers) == ("kind", 1)


@pytest.mark.parametrize(("length", "cut"), [(196, False), (197, True)])
def test_a_record_in_a_report(length: int, cut: bool) -> None:
    """Its JSON with brackets and quotes, of 200 characters at most."""
    text = answer.text_of(["x" * length])
    assert len(text) == 200
    assert text == f'["{"x" * (length if not cut else 197)}' + ("…" if cut else '"]')
    assert answer.text_of({"a": [1, 2]}) == '{"a":[1,2]}'


# Words of events


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("0x10", 16), ("0b11", 3), ("0o7", 7), ("18446744073709551615", (1 << 64) - 1)],
)
def test_numbers(text: str, value: int) -> None:
    assert events.number(text) == value


@pytest.mark.parametrize("text", ["-1", "18446744073709551616", "x", "", "010", "1.0"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of 64 bits"):
        events.number(text)


def test_numbers_of_few_bits() -> None:
    assert events.number("15", 4) == 15
    with pytest.raises(ValueError, match=r"^16 is not a number of 4 bits$"):
        events.number("16", 4)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("31", 31), ("9999", 9999), ("12345", -1), ("", -1), ("x", -1), ("²", -1), ("٣", -1)]
)
def test_numbers_behind_a_name(text: str, number: int) -> None:
    """Digits of other scripts are none: Python's own words would refuse them, or take them."""
    assert events.digits(text) == number


def test_words_of_an_event() -> None:
    assert (events.below("7", 8), events.word(["a", "b"], 1, "it")) == (7, "b")
    for text in ("8", "9"):
        with pytest.raises(ValueError, match=f"^{text} is not below 8$"):
            events.below(text, 8)
    with pytest.raises(ValueError, match=r"^it is missing$"):
        events.word(["a", "b"], 2, "it")
    found = events.parsed("call vcpu=1 x=3 host=1023 y", ("vcpu", "host"))
    assert found == (["call", "x=3", "y"], {"vcpu": 1, "host": 1023})
    assert events.parsed("vcpu a=b=c", ("vcpu", "a=b")) == (["vcpu", "a=b=c"], {})
    with pytest.raises(ValueError, match="1024 is not below 1024"):
        events.parsed("vcpu=1024", ("vcpu",))
    error = EventError("an event", "because")
    assert (str(error), error.why) == ("event 'an event': because", "because")


def test_the_same_events_elsewhere() -> None:
    world = Arm64World([host_named("max@7.2")])
    asked = ["KVM_CREATE_VM", "nothing", "KVM_CREATE_VCPU"]
    found = list(happened(world, asked))
    assert [one.event for one in found] == asked
    assert [one.step is not None for one in found] == [True, False, True]
    assert [bool(one.why) for one in found] == [False, True, False]
    assert found[0].step is world.steps[0]
    world.steps[-1].outcome = world.steps[-1].outcome._replace(verdict="host-oops")
    down = [(one.event, one.step, one.why) for one in happened(world, asked)]
    assert down == [(event, None, "the host is down") for event in asked]


def test_events_taken_back() -> None:
    """What an event changed stays known when it is taken back; what comes then is not mixed with it."""
    world = Arm64World([host_named("max@7.2")])
    world.play(["KVM_CREATE_VM", "KVM_CREATE_VCPU"])
    assert (world.steps[0].costs, world.cost_words()) == ({}, "")
    before, after = world.steps[1].before, world.steps[1].after
    assert before != after
    undone = world.undo()
    assert undone is not None
    assert (undone.before, undone.after, world.state()) == (before, after, before)
    other = world.happen("KVM_CREATE_VCPU 3")
    assert (other.before, other.after) == (before, world.state())
    assert other.after != after
    unlooked = Arm64World([host_named("max@7.2")])
    unlooked.play(["KVM_CREATE_VM", "KVM_CREATE_VCPU"])
    gone = unlooked.undo()
    assert gone is not None
    assert gone.after == after
    assert Arm64World([host_named("max@7.2")]).undo() is None


# Shapes of records


@pytest.mark.parametrize(
    ("make", "fits", "misfits"),
    [
        (lambda: shapes.text("[ab]+", "w"), ["a", "ba"], ["", "abc", 1, None, "xa"]),
        (lambda: shapes.number(), [0, -(1 << 63), (1 << 63) - 1], [True, False, 1 << 63, -(1 << 63) - 1, "1", 1.0]),
        (lambda: shapes.number(2, 4), [2, 3, 4], [1, 5]),
        (lambda: shapes.word("a", "b"), ["a", "b"], ["c", "ab", 1, ["a"]]),
        (lambda: shapes.rows(shapes.number()), [[], [1], [1, 2]], [["x"], [1, "x"], 1, (1,)]),
        (lambda: shapes.rows(shapes.number(), 2), [[1, 2]], [[], [1], [1, 2, 3], [1, "x"], "ab"]),
        (lambda: shapes.tuple_of(shapes.number(), shapes.word("a")), [[1, "a"]], [[1], ["a", 1], [1, "a", 2], "1a"]),
        (lambda: shapes.table(shapes.word("k"), shapes.number()), [{}, {"k": 1}], [{"x": 1}, {"k": "x"}, []]),
        (lambda: shapes.ANY_TEXT, ["", "x"], [1, None]),
        (lambda: shapes.ERRNO, [-4096, 4095], [-4097, 4096]),
        (lambda: shapes.U64, ["0", "f" * 16], ["", "g", "f" * 17, "F"]),
        (lambda: shapes.MEMORY, ["", "00ff"], ["0", "0g"]),
        (lambda: shapes.REGISTER, ["3_0_15_9_7", "0_7_0_10_0"], ["4_0_0_0_0", "3_8_0_0_0", "3_0_16_0_0", "3_0_0_0"]),
    ],
)
def test_what_a_key_may_hold(make: Callable[[], shapes.Value], fits: list[object], misfits: list[object]) -> None:
    shape = make()
    assert [one for one in fits if not shape.holds(one)] == []
    assert [one for one in misfits if shape.holds(one)] == []


def test_what_is_wrong_with_a_record() -> None:
    shape = {"a": shapes.number(0, 5), "b": shapes.optional(shapes.word("x", "y")), "c": shapes.rows(shapes.ERRNO, 2)}
    assert [one.required for one in shape.values()] == [True, False, True]
    assert shapes.misfit({"a": 1, "c": [1, 2]}, shape) is None
    assert shapes.misfit({"a": 1, "b": "x", "c": [1, 2]}, shape) is None
    assert shapes.misfit({"c": [1, 2]}, shape) == ('"a": a number from 0 to 5', "no such key")
    assert shapes.misfit({"a": 1, "b": "z", "c": [1, 2]}, shape) == ('"b": x or y', "'z'")
    assert shapes.misfit({"a": 1, "c": []}, shape) == ('"c": 2 of an errno', "[]")
    words = {
        shapes.number(): "a number",
        shapes.rows(shapes.ERRNO): "a list of an errno",
        shapes.tuple_of(shapes.ERRNO, shapes.ANY_TEXT): "[an errno, text]",
        shapes.table(shapes.ANY_TEXT, shapes.ERRNO): "an object of text: an errno",
        shapes.text("a", "the letter"): "the letter",
    }
    assert [shape.words for shape in words] == list(words.values())
    for length, found in ((58, "'" + "x" * 58 + "'"), (59, "'" + "x" * 58 + "…")):
        assert shapes.misfit({"a": "x" * length}, {"a": shapes.ERRNO}) == ('"a": an errno', found)
