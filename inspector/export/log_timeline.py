"""The calls of a log beside the machine's answers, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from inspector.capture.errors import visible
from inspector.export.evidence import source_of
from inspector.export.kinds import head
from inspector.export.timeline import answer_of
from inspector.machine.x86.replay.calls import Compared
from inspector.targets.x86_log import Comparison

_MOST_CHARACTERS = 56
#: More calls of one name in a row, none of them asked, are told in one line.
_MOST_ALIKE = 3
_INDENT = " " * 7


def comparison_text(found: Comparison, *, explain: bool = False) -> Iterator[str]:
    """A line a call: what the log says, what the machine says; the first that differs is marked and explained."""
    yield f"{visible(found.capture.target)}: {len(found.calls)} calls"
    yield f"{found.kernel}; host: {visible(found.because)}"
    yield ""
    for number, one, times in _folded(found.calls):
        if times > 1:
            yield f" {number:>4}  {one.call.name}, {times} times{'':<20} not asked: {one.why}"
            continue
        mark = ">" if number == found.first else "!" if one.agrees is False else " "
        said = f"{one.call.answer:<12} {machine_answer(one)}".rstrip()
        yield f"{mark}{number:>4}  {short(one):<{_MOST_CHARACTERS}}  {said}"
        if one.outcome is not None and (one.agrees is False or explain):
            yield from reasons(one)
    yield ""
    asked = [one for one in found.calls if one.agrees is not None]
    agreed = sum(one.agrees is True for one in asked)
    rest = len(found.calls) - len(asked)
    yield f"{agreed} of {len(asked)} calls that the machine was asked agree; {rest} were not asked"
    if found.first is not None:
        yield f"First divergence: call {found.first}, {found.calls[found.first - 1].call.name}"


def summary(found: Comparison) -> str:
    """How many of the calls agree, and which is the first that does not, in a few words."""
    asked = [one for one in found.calls if one.agrees is not None]
    words = (
        f"{sum(one.agrees is True for one in asked)} of {len(asked)} agree, {len(found.calls) - len(asked)} not asked"
    )
    return words if found.first is None else f"{words}; first divergence: call {found.first}"


def _folded(calls: Sequence[Compared]) -> Iterator[tuple[int, Compared, int]]:
    """Number, call, how many: calls of one name that follow each other and are not asked, as KVM_RUN is, are one."""
    number = 1
    for _, group in groupby(calls, lambda one: (one.call.name, one.outcome is None)):
        same = list(group)
        if same[0].outcome is None and len(same) > _MOST_ALIKE:
            yield number, same[0], len(same)
        else:
            yield from ((number + nth, one, 1) for nth, one in enumerate(same))
        number += len(same)


def short(one: Compared, most: int = _MOST_CHARACTERS) -> str:
    """A call in one line, cut to a width."""
    on = f"{one.call.descriptor}: " if one.call.descriptor >= 0 else ""
    text = visible(f"{on}{one.call.text}")
    return text if len(text) <= most else f"{text[: most - 3]}..."


def machine_answer(one: Compared) -> str:
    """What the machine says, or why it was not asked."""
    return answer_of(one.outcome) if one.outcome is not None else f"not asked: {one.why}"


def reasons(one: Compared) -> Iterator[str]:
    """The checks of the machine's answer, and its source; nothing where it was not asked."""
    for check in one.outcome.checks if one.outcome is not None else ():
        yield f"{_INDENT}{'held  ' if check.held else 'failed'}  {check.text}"
    if one.outcome is not None:
        yield f"{_INDENT}source  {source_of(one.outcome)}"


def comparison_json(found: Comparison) -> dict[str, Any]:
    """The documented shape of ``sim --from-log --json``."""
    return {
        **head("calls"),
        "target": found.capture.target,
        "kernel": found.kernel,
        "because": found.because,
        "first_divergence": found.first,
        "calls": [_call_json(number, one) for number, one in enumerate(found.calls, 1)],
    }


def _call_json(number: int, one: Compared) -> dict[str, Any]:
    call, outcome = one.call, one.outcome
    machine = None
    if outcome is not None:
        machine = {
            "verdict": outcome.verdict,
            "name": outcome.name,
            "value": f"{outcome.value:#x}",
            "because": outcome.because,
            "checks": [{"text": check.text, "held": check.held} for check in outcome.checks],
            "source": outcome.source,
        }
    return {
        "number": number,
        "offset": call.offset,
        "who": call.who,
        "descriptor": call.descriptor if call.descriptor >= 0 else None,
        "name": call.name,
        "text": call.text,
        "result": call.result,
        "error": call.error or None,
        "machine": machine,
        "not_asked": one.why or None,
        "agrees": one.agrees,
    }
