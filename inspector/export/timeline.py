"""A timeline as text and as JSON: events, answers, what kernels did, what changed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.capture.errors import visible
from inspector.machine.outcome import Outcome
from inspector.machine.x86.trace import Line
from inspector.machine.x86.world import Step, World
from layouts.x86.scenario import Logged, Scenario

SCHEMA = 1
_INDENT = " " * 7
_WIDTH = 110


def answer_of(outcome: Outcome) -> str:
    """The answer in one line: verdict, the check that decided, value, size of what was returned."""
    answer = str(outcome)
    if outcome.value and outcome.accepted:
        answer += f", {outcome.value:#x}"
    if outcome.image:
        answer += f", {len(outcome.image)} bytes"
    return answer


def counted(number: int, what: str) -> str:
    """A number of things: ``1 byte``, ``2 bytes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def stamp_of(line: Line, logged: Sequence[Logged], event: int) -> str:
    """The time at which a document's log has this line, or an empty string."""
    for entry in logged:
        here = entry.event == event and (entry.level, entry.cpu) == (line.level, line.cpu)
        if here and line.text.startswith(entry.text):
            return entry.stamp
    return ""


def log_lines(step: Step, logged: Sequence[Logged], event: int) -> Iterator[str]:
    """What kernels did in an event, a line each."""
    for line in step.log:
        stamp = stamp_of(line, logged, event)
        when = f" [{stamp}]" if stamp else ""
        yield f"{line.level} CPU {line.cpu}, task {line.task}: {line.text}{when}"


def timeline_text(scenario: Scenario, world: World) -> Iterator[str]:
    """The lines of a timeline."""
    yield scenario.title
    yield f"{scenario.host}, {world.host.kernel.title}, policy {scenario.policy}"
    if scenario.because:
        yield from textwrap.wrap(visible(f"host: {scenario.because}"), _WIDTH, subsequent_indent="  ")
    yield ""
    for number, step in enumerate(world.steps, 1):
        yield f"{number:>3}  {visible(step.event):<40} {answer_of(step.outcome)}"
        for text in log_lines(step, scenario.log, number):
            yield f"{_INDENT}{text}"
        yield from _changes(step)
        outcome = step.outcome
        if not all(check.held for check in outcome.checks):
            for check in outcome.checks:
                yield f"{_INDENT}{'held  ' if check.held else 'failed'}  {check.text}"
            yield f"{_INDENT}see {outcome.source}"
    if scenario.source:
        yield ""
        yield f"Source: {scenario.source}"


def _changes(step: Step) -> Iterator[str]:
    new = [f"{name} {after}" for name, (before, after) in step.changes.items() if before == "-"]
    if new:
        yield from textwrap.wrap(
            f"new: {', '.join(new)}", _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + "     "
        )
    for name, (before, after) in step.changes.items():
        if before != "-":
            yield f"{_INDENT}{name}: {before} -> {after}"
    if step.bytes_changed:
        yield f"{_INDENT}{counted(step.bytes_changed, 'byte')} of the image changed"


def timeline_json(scenario: Scenario, world: World) -> dict[str, Any]:
    """The documented shape of ``sim --json``."""
    return {
        "schema": SCHEMA,
        "scenario": scenario.name,
        "host": scenario.host,
        "because": scenario.because,
        "kernel": world.host.kernel.name,
        "answers_for": world.host.kernel.answers_for or None,
        "policy": scenario.policy,
        "events": [_step_json(step, scenario.log, number) for number, step in enumerate(world.steps, 1)],
        "state": world.state(),
    }


def _step_json(step: Step, logged: Sequence[Logged], number: int) -> dict[str, Any]:
    outcome = step.outcome
    return {
        "event": step.event,
        "verdict": outcome.verdict,
        "name": outcome.name,
        "code": outcome.code,
        "value": f"{outcome.value:#x}",
        "because": outcome.because,
        "checks": [{"text": check.text, "held": check.held} for check in outcome.checks],
        "log": [{**line._asdict(), "stamp": stamp_of(line, logged, number)} for line in step.log],
        "changes": {name: list(pair) for name, pair in step.changes.items()},
        "bytes_changed": step.bytes_changed,
        "image_bytes": len(outcome.image),
        "source": outcome.source,
    }


def why_lines(number: int, outcome: Outcome) -> Iterator[str]:
    """What is in the way of a component, as text."""
    yield ""
    yield f"Component {number}, from the host's CPU to a program in the guest:"
    for check in outcome.checks:
        yield f"  {'held  ' if check.held else 'failed'}  {check.text}"
