"""A timeline as text and as JSON: events, answers, what kernels did, what changed."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from inspector.capture.errors import visible
from inspector.export.evidence import source_of
from inspector.export.kinds import head, kernel_json
from inspector.export.machine_state import changes_of, words_of
from inspector.export.words import counted
from inspector.machine.log import Line
from inspector.machine.outcome import Outcome
from inspector.machine.world import BaseWorld, WorldStep
from layouts.scenario import Logged, Scenario

if TYPE_CHECKING:
    from inspector.machine.x86.world.state import Use

_INDENT = " " * 7
_WIDTH = 110
#: si_code by signal (include/uapi/asm-generic/siginfo.h), as arch/x86/kernel/traps.c gives them.
_SI_CODES: dict[tuple[int, int], str] = {
    (signal.SIGILL, 1): "ILL_ILLOPC",
    (signal.SIGILL, 2): "ILL_ILLOPN",
    (signal.SIGSEGV, 0x80): "SI_KERNEL",
}


#: Events that are asked for their value, which may be 0.
_ASKED = ("KVM_CHECK_EXTENSION", "KVM_GET_ONE_REG", "guest mrs")


def answer_of(outcome: Outcome, event: str = "") -> str:
    """The answer in one line: verdict, the check that decided, value, size of what was returned."""
    answer = str(outcome)
    if outcome.verdict == "signal" and (outcome.code, outcome.value) in _SI_CODES:
        answer = answer.replace(outcome.name, f"{outcome.name} ({_SI_CODES[outcome.code, outcome.value]})", 1)
    if outcome.accepted and (outcome.value or (event.startswith(_ASKED) and not outcome.image)):
        answer += f", {outcome.value:#x}"
    if outcome.image:
        answer += f", {len(outcome.image)} bytes"
    return answer


def stamp_of(line: Line, logged: Sequence[Logged], event: int) -> str:
    """The time at which a document's log has this line, or an empty string."""
    for entry in logged:
        here = entry.event == event and (entry.level, entry.cpu) == (line.level, line.cpu)
        if here and line.text.startswith(entry.text):
            return entry.stamp
    return ""


def log_lines(step: WorldStep[Any], logged: Sequence[Logged], event: int, *, calls: bool = False) -> Iterator[str]:
    """What kernels did in an event, a line each; ``calls``: and who called the function that did it."""
    for line in step.log:
        stamp = stamp_of(line, logged, event)
        when = f" [{stamp}]" if stamp else ""
        yield f"{line.level} CPU {line.cpu}, task {line.task}: {line.text}{when}"
        if calls and len(line.calls) > 1:
            yield f"  called by {calls_text(line)}"


def calls_text(line: Line) -> str:
    """The callers, the nearest first."""
    return " < ".join(line.calls[1:])


def timeline_text(
    scenario: Scenario, world: BaseWorld[Any], *, calls: bool = False, explain: bool = False
) -> Iterator[str]:
    """The lines of a timeline.

    ``calls``: with the callers of each function that did something; ``explain``: checks and source of what was
    accepted too.
    """
    yield scenario.title
    yield place_words(scenario, world)
    if scenario.because:
        yield from textwrap.wrap(visible(f"host: {scenario.because}"), _WIDTH, subsequent_indent="  ")
    yield ""
    for number, step in enumerate(world.steps, 1):
        yield f"{number:>3}  {visible(step.event):<40} {answer_of(step.outcome, step.event)}"
        for text in log_lines(step, scenario.log, number, calls=calls):
            yield f"{_INDENT}{text}"
        yield from _changes(step)
        yield from _reasons(step.outcome, explain=explain)
    if world.steps and (cost := world.cost_words()):
        yield ""
        yield f"Cost: {cost}"
    if scenario.source:
        yield ""
        yield f"Source: {scenario.source}"
    for note in scenario.notes:
        yield from textwrap.wrap(f"The source errs: {note}", _WIDTH, subsequent_indent="  ")


def scenarios_json(found: Iterable[Scenario]) -> dict[str, Any]:
    """The documented shape of ``sim list --json``."""
    rows = [
        {
            "name": one.name,
            "title": one.title,
            "architecture": one.architecture,
            "host": one.host,
            "destinations": list(one.destinations),
            "kernel": one.kernel,
            "policy": one.policy,
            "events": list(one.events),
            "source": one.source,
        }
        for one in found
    ]
    return {**head("scenarios"), "scenarios": rows}


def place_words(scenario: Scenario, world: BaseWorld[Any]) -> str:
    """Where it happens: the hosts, the first one's kernel, on x86 the policy, on arm64 SVE's interface."""
    what = "policy" if scenario.architecture == "x86" else "ABI"
    return f"{scenario.hosts}, {world.kernel.title}, {what} {scenario.policy}"


def _reasons(outcome: Outcome, *, explain: bool) -> Iterator[str]:
    """The checks of what was refused, and its source; of what was accepted, that nobody measured it."""
    all_told = explain or not all(check.held for check in outcome.checks)
    for check in outcome.checks if all_told else ():
        yield f"{_INDENT}{'held  ' if check.held else 'failed'}  {check.text}"
    if all_told or outcome.evidence == "unmeasured":
        yield f"{_INDENT}source  {source_of(outcome)}"


def _changes(step: WorldStep[Any]) -> Iterator[str]:
    changes = changes_of(step)
    new = [f"{name} {after}" for name, (before, after) in changes.items() if before == "-"]
    if new:
        yield from textwrap.wrap(
            f"new: {', '.join(new)}", _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + "     "
        )
    for name, (before, after) in changes.items():
        if before != "-":
            yield f"{_INDENT}{name}: {before} -> {after}"
    if step.bytes_changed:
        yield f"{_INDENT}{counted(step.bytes_changed, 'byte')} of the image changed"


def timeline_json(scenario: Scenario, world: BaseWorld[Any]) -> dict[str, Any]:
    """The documented shape of ``sim --json``."""
    return {
        **head("timeline"),
        "scenario": scenario.name,
        "architecture": scenario.architecture,
        "host": scenario.host,
        "destinations": list(scenario.destinations),
        "because": scenario.because,
        **kernel_json(world.kernel),
        "policy": scenario.policy,
        "events": [_step_json(step, scenario.log, number) for number, step in enumerate(world.steps, 1)],
        "costs": dict(world.costs_by_name()),
        "notes": list(scenario.notes),
        "state": words_of(world.state()),
    }


def _step_json(step: WorldStep[Any], logged: Sequence[Logged], number: int) -> dict[str, Any]:
    outcome = step.outcome
    return {
        "event": step.event,
        "verdict": outcome.verdict,
        "name": outcome.name,
        "code": outcome.code,
        "value": f"{outcome.value:#x}",
        "because": outcome.because,
        "checks": [{"text": check.text, "held": check.held} for check in outcome.checks],
        "log": [
            {**line._asdict(), "calls": list(line.calls), "stamp": stamp_of(line, logged, number)} for line in step.log
        ],
        "changes": {name: list(pair) for name, pair in changes_of(step).items()},
        "bytes_changed": step.bytes_changed,
        "image_bytes": len(outcome.image),
        "source": outcome.source,
        "evidence": outcome.evidence,
    }


def why_json(number: int, outcome: Outcome, use: Use | None) -> dict[str, Any]:
    """The same for programs."""
    checks = [{"text": check.text, "held": check.held} for check in outcome.checks]
    return {"component": number, "works": outcome.accepted, "use": use, "checks": checks}
