"""The same events in two worlds side by side: answers, what kernels did, what changed, what it cost; text and JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from inspector.capture.errors import visible
from inspector.export.kinds import head, kernel_json
from inspector.export.machine_state import changes_of, words_of
from inspector.export.timeline import answer_of
from inspector.machine.against import Happened
from inspector.machine.world import BaseWorld, WorldStep
from layouts.scenario import Scenario

#: What of an event differs: its answer, what it changes, or only what kernels did on the way.
Difference = Literal["", "answer", "change", "log"]
_SENTENCES: dict[Difference, str] = {
    "answer": "the answer differs",
    "change": "the answer is the same, what it changes differs",
    "log": "the same answer and changes, by other steps of a kernel",
}
#: Lines of a log name the function behind them, which kernels call otherwise.
_FUNCTION = re.compile(r" \([a-z0-9_]+\)$")
_COSTS = (
    ("VM exits", "vm_exits"),
    ("WRMSR of XFD", "wrmsr_xfd"),
    ("RDMSR of XFD", "rdmsr_xfd"),
    ("checks of XINUSE", "checks"),
    ("bytes of buffers", "allocated_bytes"),
)
_WIDTH = 110
_EVENT_WIDTH, _ANSWER_WIDTH = 38, 26


class Side(NamedTuple):
    """A world, and where it is."""

    scenario: Scenario
    world: BaseWorld[Any]

    @property
    def words(self) -> tuple[str, str, str]:
        """Hosts, kernel, policy."""
        return self.scenario.hosts, self.world.kernel.title, self.scenario.policy


class Pair(NamedTuple):
    """An event in both worlds."""

    number: int
    one: Happened
    other: Happened

    @property
    def differs(self) -> Difference:
        """What of it differs."""
        one, other = self.one.step, self.other.step
        if one is None or other is None:
            return "answer" if self.one.why != self.other.why else ""
        if answer_of(one.outcome) != answer_of(other.outcome):
            return "answer"
        if _changes(one, other) != _changes(other, one):
            return "change"
        return "log" if _log(self.one) != _log(self.other) else ""


class Comparison(NamedTuple):
    """The same events in two worlds."""

    one: Side
    other: Side
    pairs: tuple[Pair, ...]

    @property
    def first(self) -> Pair | None:
        """The first event of which anything differs."""
        return next((pair for pair in self.pairs if pair.differs), None)

    @property
    def names(self) -> tuple[str, str]:
        """What tells the two apart, short."""
        words = [(one, other) for one, other in zip(self.one.words, self.other.words, strict=True) if one != other]
        if not words:
            return "one", "other"
        return ", ".join(one for one, _ in words), ", ".join(other for _, other in words)

    @property
    def costs(self) -> list[tuple[str, int, int]]:
        """What each paid: name, one, other."""
        one, other = self.one.world.costs_by_name(), self.other.world.costs_by_name()
        return [(name, one[field], other[field]) for name, field in _COSTS if field in one]


def compared(one: Side, other: Side, events: Sequence[tuple[Happened, Happened]]) -> Comparison:
    """Both sides of events that happened."""
    return Comparison(one, other, tuple(Pair(number, *both) for number, both in enumerate(events, 1)))


def short_answer(happened: Happened) -> str:
    """The answer in a word or two; ``!`` where something is not as it should be."""
    if happened.step is None:
        return "cannot happen"
    outcome = happened.step.outcome
    return f"{outcome.name} !" if outcome.accepted and not all(check.held for check in outcome.checks) else outcome.name


def only(pair: Pair, side: int) -> list[str]:
    """What one side has of an event and the other has not: its reason, what kernels did, what changed."""
    mine, theirs = (pair.one, pair.other) if side == 0 else (pair.other, pair.one)
    others = set(_told(theirs, mine))
    return [line for line in _told(mine, theirs) if line not in others]


def _told(happened: Happened, there: Happened) -> list[str]:
    """All there is to say of an event."""
    step = happened.step
    if step is None:
        return [f"cannot happen: {happened.why}"]
    changes = _changes(step, there.step) if there.step is not None else {}
    told = (f"{name}: {before} -> {after}" for name, (before, after) in changes.items())
    return [answer_of(step.outcome), *_log(happened), *told]


def _changes(step: WorldStep[Any], there: WorldStep[Any]) -> dict[str, tuple[str, str]]:
    """What an event changed, of what both worlds have: the proposal keeps more of a vCPU than was merged."""
    known = words_of(there.after)
    return {name: values for name, values in changes_of(step).items() if name in known}


def _log(happened: Happened) -> list[str]:
    log = happened.step.log if happened.step is not None else ()
    return [f"{line.level} CPU {line.cpu}: {_FUNCTION.sub('', line.text)}" for line in log]


def first_sentence(found: Comparison) -> str:
    """Where the two first part."""
    pair = found.first
    if pair is None:
        return "no difference"
    return f"first difference: event {pair.number}, {visible(pair.one.event)}: {_SENTENCES[pair.differs]}"


def worlds_text(found: Comparison) -> Iterator[str]:
    """A line an event; ``>`` is the first difference, ``≠`` further answers that differ, ``~`` other differences."""
    names = found.names
    yield found.one.scenario.title
    for mark, side in (("A", found.one), ("B", found.other)):
        yield f"{mark}: {', '.join(map(visible, side.words))}"
    yield ""
    yield f"      {'':<{_EVENT_WIDTH}} {f'A: {names[0]}':<{_ANSWER_WIDTH}} B: {names[1]}".rstrip()
    for pair in found.pairs:
        mark = ">" if pair is found.first else {"": " ", "answer": "≠"}.get(pair.differs, "~")
        answers = f"{short_answer(pair.one):<{_ANSWER_WIDTH}} {short_answer(pair.other)}"
        yield f"{mark}{pair.number:>3}  {visible(pair.one.event):<{_EVENT_WIDTH}}  {answers}"
        if pair is found.first or pair.differs == "answer":
            yield from _details(pair)
    yield ""
    for name, one, other in found.costs:
        yield f"      {name:<{_EVENT_WIDTH}} {one:<{_ANSWER_WIDTH}} {other}"
    yield ""
    yield f"{first_sentence(found)[0].upper()}{first_sentence(found)[1:]}"


def _details(pair: Pair) -> Iterator[str]:
    for side, mark in enumerate("AB"):
        for line in only(pair, side):
            yield from textwrap.wrap(
                visible(f"{mark}: {line}"), _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 11
            )


def worlds_json(found: Comparison) -> dict[str, Any]:
    """The documented shape of ``sim --against --json``."""
    first = found.first
    return {
        **head("worlds"),
        "scenario": found.one.scenario.name,
        "a": _side_json(found.one),
        "b": _side_json(found.other),
        "events": [_pair_json(pair) for pair in found.pairs],
        "first": first.number if first is not None else None,
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "host": side.scenario.host,
        **kernel_json(side.world.kernel),
        "policy": side.scenario.policy,
        "costs": dict(side.world.costs_by_name()),
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "event": pair.one.event,
        "differs": pair.differs or None,
        "a": _happened_json(pair.one, only(pair, 0)),
        "b": _happened_json(pair.other, only(pair, 1)),
    }


def _happened_json(happened: Happened, told: list[str]) -> dict[str, Any]:
    step = happened.step
    if step is None:
        nothing = dict.fromkeys(("verdict", "name", "value", "source", "evidence"))
        return {**nothing, "because": happened.why, "only": []}
    outcome = step.outcome
    return {
        "verdict": outcome.verdict,
        "name": outcome.name,
        "value": f"{outcome.value:#x}",
        "because": outcome.because,
        "source": outcome.source,
        "evidence": outcome.evidence,
        "only": told,
    }
