"""Recorded programs and ptrace calls: each step's answer is asked, and what is not understood is told."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine.answer import Answer, NotAsked
from inspector.machine.verify import verify
from inspector.machine.x86.replay.programs.replay import replay_program
from inspector.machine.x86.replay.programs.traced import replay_ptrace
from tests.machine.x86_programs import Found, Record, host, recorded, wrong


@cache
def programs() -> tuple[Record, ...]:
    """Of the recorded programs those that have a step of a kind that none before them has."""
    found, seen = [], set[str]()
    for record in recorded():
        if record["t"] == "prog":
            kinds = {step[0] for step in (record.get("steps") or record["answers"][0]["steps"])}
            if kinds - seen:
                found.append(record)
            seen |= kinds
    return tuple(found)


@cache
def calls() -> tuple[Record, ...]:
    """Of the ptrace calls one of each kind, and of each case."""
    found = {(r["what"], str(r.get("case")).split("=")[0]): r for r in recorded() if r["t"] == "ptrace"}
    return tuple(found.values())


def answers(record: Record) -> Found:
    return list((replay_program if record["t"] == "prog" else replay_ptrace)(host(), record))


def test_every_step_is_asked() -> None:
    """Each result or XINUSE, in turn, is another."""
    for record in programs():
        if "answers" in record:
            continue
        changed = copy.deepcopy({**record, "end": {"sig": 11}})
        for nth, step in enumerate(changed["steps"]):
            if nth % 2:
                step[-2] = ["another", step[-2]]
            else:
                step[-1] = f"{int(step[-1], 16) ^ 2:x}"
        (*found, end) = wrong(answers(changed))
        assert len(found) == len(record["steps"])
        assert (end.kind, end.expected, end.predicted) == ("end", {"sig": 11}, {"exit": 0})
        assert wrong(answers(record)) == []


def test_every_ptrace_call_is_asked() -> None:
    for record in calls():
        assert wrong(answers(record)) == []
        asked = record["answer"] if record["what"] == "get" else [record["answer"]]
        others = [{**answer, key: ["another", answer[key]]} for answer in asked for key in answer if key in TOLD]
        for other in others if record["what"] != "get" else ():
            (answer, end) = wrong(answers({**record, "answer": other, "end": {"exit": 1}}))
            assert (answer.kind, answer.expected, end.kind) == (f"ptrace {record['what']}", other, "end")
        if record["what"] == "get":
            changed = [{**answer, key: ["another"]} for answer in asked for key in answer if key in TOLD]
            assert len(wrong(answers({**record, "answer": changed}))) == len(changed)


#: What of a ptrace call is an answer.
TOLD = ("err", "iov_len", "read_back", "crc", "beyond", "image", "head", "st", "xmm", "tail", "getfpregs", "getfpxregs")


def some_program() -> Record:
    """A program of several steps, of which none shows a preemption."""
    return next(each for each in programs() if len(each.get("steps", ())) > 5 and not each.get("pkru_in_use_unstable"))


def with_results(record: Record, *changed: int) -> Record:
    """The steps and the end of a run in which some results are others."""
    run = copy.deepcopy({"steps": record["steps"], "end": record["end"]})
    for at in changed:
        run["steps"][at][-2] = "another"
    return run


def test_of_several_runs_the_one_that_fits_best() -> None:
    record = some_program()
    head = {key: record[key] for key in ("t", "group", "id")}
    right, one, two = with_results(record), with_results(record, 1), with_results(record, 1, 2)
    late = with_results(record, 2, 3)
    for runs, count in (([two, right, one], 0), ([two, one], 1), ([late, one], 1), ([two], 2), ([right], 0)):
        found = answers({**head, "answers": runs})
        assert len(wrong(found)) == count
        # Of the steps only a wrong one has a text.
        assert {each.record for each in found[:-1] if isinstance(each, Answer) and each.agrees} == {""}
        assert len(found) == len(record["steps"]) + 1
    # What was not asked is no disagreement.
    (first, *_) = [each.record for each in wrong(answers({**head, "answers": [one]}))]
    assert first.startswith(f"{record['group']} {record['id']} step 1: [")


def test_pkru_that_an_interrupt_puts_in_use_is_not_asked() -> None:
    """Where PKRU is 0 and initial another task's turn shows, which no record tells; the bit alone differs then."""
    cause = "PKRU is 0 and initial: whether another task ran meanwhile is not in the record"
    shown = [each for each in recorded() if each["t"] == "prog" and each.get("pkru_in_use_unstable")]
    assert len(shown) == 3
    for record in shown:
        found = answers(record)
        assert wrong(found) == []
        assert {each.cause for each in found if isinstance(each, NotAsked)} <= {cause}
        assert len(found) == len(record["steps"]) + 1


def test_a_zero_pkru_and_a_preemption() -> None:
    steps: list[list[Any]] = [["xrstor_init_pkru", 0, "0"], ["xgetbv", 1, "0", "0"]]
    record = {"t": "prog", "group": "g", "id": "1", "steps": steps, "end": {"exit": 0}}
    calm = [each for each in answers(record) if isinstance(each, Answer)]
    for step, answer in zip(steps, calm, strict=False):
        step[-2:] = answer.predicted  # type: ignore[assignment]
    assert wrong(answers(record)) == []
    in_use = int(steps[0][-1], 16)
    assert not in_use >> 9 & 1
    steps[0][-1] = f"{in_use | 1 << 9:x}"
    first, second, end = answers(record)
    assert isinstance(first, NotAsked)
    assert (first.kind, first.answers, end.kind) == ("xrstor_init_pkru", 1, "end")
    # The program goes on as recorded: PKRU is in use, which XGETBV(1) shows as well.
    assert isinstance(second, Answer)
    assert second.predicted == [f"{int(str(steps[1][-2]), 16) | 1 << 9:x}", f"{int(str(steps[1][-1]), 16) | 1 << 9:x}"]
    steps[0][-1] = f"{in_use | 1 << 9 | 1 << 5:x}"
    assert isinstance(answers(record)[0], Answer)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (["movq_mm", 8, 1], "register 8 of 8"),
        (["movq_mm", -1, 1], "register -1 of 8"),
        (["load_zmm", 32, 1], "register 32 of 32"),
        (["load_ymm", 16, 1], "register 16 of 16"),
        (["zero_xmm", 16], "register 16 of 16"),
        (["kmovq", 8, "1"], "register 8 of 8"),
        (["kxorq", 8], "register 8 of 8"),
        (["xsave", "7", "nowhere"], "no address 'nowhere'"),
        (["xrstor_img", "7", "0", "0", [[0, 3, "0", "0"]]], "a change of 3 bytes at 0"),
        (["xrstor_img", "7", "0", "0", [[16385, 1, "0", "0"]]], "a change of 1 bytes at 16385"),
        (["no such step"], "no such step"),
    ],
)
def test_a_step_that_cannot_be_done(step: list[Any], why: str) -> None:
    uname = {"t": "uname", "release": "6.18.1"}
    record = {"t": "prog", "group": "g", "id": "1", "steps": [[*step, 0, "0"]], "end": {}}
    with pytest.raises(InputError, match="records as the recorder writes them") as error:
        verify("f", [json.dumps(each).encode() for each in (uname, *recorded()[1:21], record)])
    assert why in str(error.value)
