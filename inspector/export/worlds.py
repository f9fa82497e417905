"""The same events in two worlds, side by side: another policy, another interface, another kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from inspector.capture.errors import visible
from inspector.export.kinds import head
from inspector.export.timeline import answer_of, place_words
from inspector.export.words import counted
from inspector.machine.outcome import Outcome
from inspector.machine.world import BaseWorld
from layouts.scenario import Scenario

_EVENT_WIDTH = 50


class BothAnswers(NamedTuple):
    """An event with its answer in each world; None where that world went down before."""

    event: str
    one: Outcome | None
    other: Outcome | None

    @property
    def differs(self) -> bool:
        """The worlds answer otherwise, whatever the reason."""
        return _short(self.one) != _short(self.other)


class Comparison(NamedTuple):
    """Two places, and the events in both."""

    places: tuple[str, str]
    title: str
    rows: tuple[BothAnswers, ...]

    @property
    def first(self) -> BothAnswers | None:
        """The first event that is answered otherwise; None where there is none."""
        return next((row for row in self.rows if row.differs), None)


def compared(
    scenario: Scenario, one: BaseWorld[Any], other_scenario: Scenario, other: BaseWorld[Any], events: Sequence[str]
) -> Comparison:
    """Let the events happen in both worlds. Raises EventError for one that is none."""
    rows = []
    for event in events:
        answers = [None if world.is_down else world.happen(event).outcome for world in (one, other)]
        rows.append(BothAnswers(event, answers[0], answers[1]))
    return Comparison((place_words(scenario, one), place_words(other_scenario, other)), scenario.title, tuple(rows))


def comparison_of_worlds_text(found: Comparison) -> Iterator[str]:
    """Both answers of each event; where they differ, the checks that decided."""
    yield found.title
    yield f"1: {found.places[0]}"
    yield f"2: {found.places[1]}"
    yield ""
    for number, row in enumerate(found.rows, 1):
        sign = "≠" if row.differs else " "
        yield f"{number:>3} {sign} {visible(row.event):<{_EVENT_WIDTH}} {_short(row.one):<12} {_short(row.other)}"
        for at, outcome in enumerate((row.one, row.other), 1):
            if row.differs and outcome is not None:
                yield f"        {at}: {visible(answer_of(outcome))}"
    count = sum(row.differs for row in found.rows)
    yield ""
    yield f"{counted(count, 'event')} of {len(found.rows)} answered otherwise"


def comparison_of_worlds_json(found: Comparison) -> dict[str, Any]:
    """The documented shape of ``sim --against --json``."""
    rows = [
        {"event": row.event, "differs": row.differs, "answers": [_json(row.one), _json(row.other)]}
        for row in found.rows
    ]
    return {**head("worlds"), "places": list(found.places), "events": rows}


def _json(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {
        "name": outcome.name,
        "value": f"{outcome.value:#x}",
        "because": outcome.because,
        "source": outcome.source,
        "evidence": outcome.evidence,
    }


def _short(outcome: Outcome | None) -> str:
    if outcome is None:
        return "host is down"
    return f"{outcome.name}, {outcome.value:#x}" if outcome.accepted and outcome.value else outcome.name
