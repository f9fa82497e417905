"""Answers of recorded programs beside the machine's, a step each.

One thing is in no recording: when an interrupt let another task run. It shows where PKRU is 0 and initial, for
Linux then writes it when the program goes on, and it is in use. Such a step is tried again with a preemption before
it, and counts as not asked: the record tells it, not the machine.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from inspector.machine.answer import Answer, NotAsked, text_of
from inspector.machine.x86.host import Host
from inspector.machine.x86.replay.programs.program import Program, ProgramStep
from layouts.x86.xsave import PKRU

_PREEMPTED = "PKRU is 0 and initial: whether another task ran meanwhile is not in the record"
_PKRU = 1 << PKRU
_END = "end"
_EXITED = {"exit": 0}


def replay_program(host: Host, record: dict[str, Any]) -> Iterator[Answer | NotAsked]:
    """The answers of a program. Of one that did not answer the same in every run, those of the run that fits best."""
    runs = record.get("answers") or [record]
    found = [list(_replay_run(host, record, run)) for run in runs]
    yield from min(found, key=lambda answers: sum(isinstance(one, Answer) and not one.agrees for one in answers))


def _replay_run(host: Host, record: dict[str, Any], run: dict[str, Any]) -> Iterator[Answer | NotAsked]:
    program = Program(host, str(record["group"]))
    where = f"{record['group']} {record['id']}"
    yield from replay_steps(program, where, run["steps"], frozenset(record.get("pkru_in_use_unstable", ())))
    yield ended(where, run["end"])


def ended(where: str, end: object) -> Answer:
    """How a program came to its end: all of them leave by themselves."""
    return Answer(_END, where, end, _EXITED, accepted=True)


def replay_steps(
    program: Program, where: str, steps: list[ProgramStep], unstable: frozenset[int], first: int = 0
) -> Iterator[Answer | NotAsked]:
    """The answers of steps, which are numbered from ``first``; ``unstable``: those whose PKRU bit was not the same."""
    for number, step in enumerate(steps, first):
        expected: list[object] = step[-2:]
        shows = program.shows_preemption
        predicted = program.step(step)
        shows = shows or program.shows_preemption or number in unstable
        if predicted != expected and shows and _without_pkru(predicted) == _without_pkru(expected):
            if int(str(expected[1]), 16) & _PKRU:
                program.preempted()
            yield NotAsked(step[0], _PREEMPTED, 1)
            continue
        agrees = predicted == expected
        text = "" if agrees else f"{where} step {number}: {text_of(step[:-2])}"
        yield Answer(step[0], text, expected, predicted, _accepted(expected[0]), "")


def _accepted(result: object) -> bool:
    """The step did what it was asked for: no signal, no errno."""
    return not ((isinstance(result, dict) and "sig" in result) or (isinstance(result, int) and result < 0))


def _without_pkru(answer: list[object]) -> list[object]:
    """An answer without the bit of PKRU, and without its bytes where a digest has them only with the bit."""
    result, xinuse = answer
    if isinstance(result, dict) and "bv" in result:
        result = copy.copy(result)
        result["bv"] = f"{int(result['bv'], 16) & ~_PKRU:x}"
        result.pop("9", None)
    return [result, f"{int(str(xinuse), 16) & ~_PKRU:x}"]
