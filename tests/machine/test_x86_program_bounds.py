"""Recorded programs and ptrace calls: each step's answer is asked, and what is not understood is told."""

from __future__ import annotations

import copy
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from inspector.machine.answer import Answer, NotAsked
from inspector.machine.x86.host import Host
from inspector.machine.x86.replay.programs.replay import replay_program
from inspector.machine.x86.replay.programs.traced import replay_ptrace
from inspector.machine.x86.replay.records import hosted

CUT = Path(__file__).parent / "verdicts" / "x86-silicon-linux-6.18.jsonl.gz"
Record = dict[str, Any]
Found = list[Answer | NotAsked]


@cache
def recorded() -> tuple[Record, ...]:
    return tuple(json.loads(line) for line in gzip.decompress(CUT.read_bytes()).splitlines())


@cache
def host() -> Host:
    return hosted(recorded())


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


def wrong(found: Found) -> list[Answer]:
    return [answer for answer in found if isinstance(answer, Answer) and not answer.agrees]


def test_every_step_is_asked() -> None:
    """Each result, then each XINUSE, is another."""
    for record in programs():
        if "answers" in record:
            continue
        steps = len(record["steps"])
        for at, other in ((-2, lambda result: ["another", result]), (-1, lambda xinuse: f"{int(xinuse, 16) ^ 2:x}")):
            changed = copy.deepcopy(record)
            for step in changed["steps"]:
                step[at] = other(step[at])
            assert len(wrong(answers(changed))) == steps
        assert wrong(answers(record)) == []
        (end,) = wrong(answers({**record, "end": {"sig": 11}}))
        assert (end.kind, end.expected, end.predicted) == ("end", {"sig": 11}, {"exit": 0})


def test_every_ptrace_call_is_asked() -> None:
    for record in calls():
        assert wrong(answers(record)) == []
        asked = record["answer"] if record["what"] == "get" else [record["answer"]]
        others = [{**answer, key: ["another", answer[key]]} for answer in asked for key in answer if key in TOLD]
        (end,) = wrong(answers({**record, "end": {"exit": 1}}))
        assert end.kind == "end"
        for nth, other in enumerate(others if record["what"] != "get" else ()):
            (answer,) = wrong(answers({**record, "answer": other}))
            assert (answer.kind, answer.expected) == (f"ptrace {record['what']}", other), nth
        if record["what"] == "get":
            changed = [{**answer, key: ["another"]} for answer in asked for key in answer if key in TOLD]
            assert len(wrong(answers({**record, "answer": changed}))) == len(changed)


#: What of a ptrace call is an answer.
TOLD = ("err", "iov_len", "read_back", "crc", "beyond", "image", "head", "st", "xmm", "tail", "getfpregs", "getfpxregs")
