"""The restores of ``made/``, which have the form of recordings, a section at a time."""

from __future__ import annotations

import base64
import copy
import json
import lzma
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.verify import verify
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.replay import sections

_FOLDER = Path(__file__).parent / "made"
NAMES = ("amd-linux-6.12", "amd-linux-5.10", "intel-linux-7.2")
Record = dict[str, Any]
Found = Sequence[Answer | Agreed | NotAsked]
#: A VM, and its guest's code run in 64-bit mode.
MADE: Record = {"op": "mk", "irq": 1, "cpuid": "sup"}
PLAIN: Record = {"op": "run", "w": "plain mode", "set": 0, "e": 0, "exit": 2, "port": 17, "rip": "10002", "mp": 0}


@cache
def recorded(name: str) -> tuple[Record, ...]:
    lines = lzma.decompress((_FOLDER / f"restores-{name}.jsonl.xz").read_bytes()).splitlines()
    return tuple(json.loads(line) for line in lines)


@cache
def _bench(name: str) -> Bench:
    return Bench(name, recorded(name))


def bench(name: str) -> Bench:
    """As a recording begins."""
    found = _bench(name)
    found.vcpu, found.cpuid, found.enforces = WholeVcpu(found.kvm), "", False
    return found


def ran(word: str) -> WholeVcpu:
    """The vCPU after a record of section ``run``."""
    answers(NAMES[0], "run", [MADE, {**PLAIN, "w": word}])
    return _bench(NAMES[0]).vcpu


def answers(name: str, section: str, records: Sequence[Record]) -> list[Answer | Agreed | NotAsked]:
    return list(sections()[section](bench(name), records))


def wrong(found: Found) -> list[Answer]:
    return [answer for answer in found if isinstance(answer, Answer) and not answer.agrees]


def section(name: str, section: str) -> list[Record]:
    return [copy.deepcopy(dict(record)) for record in bench(name).sections[section]]


def untold(found: Found) -> dict[str, tuple[str, int]]:
    """What was not asked, by kind: why, and how many answers."""
    return {each.kind: (each.cause, each.answers) for each in found if isinstance(each, NotAsked)}


def told(records: Sequence[Record], named: str, name: str = NAMES[0]) -> str:
    """The error of a file whose one section beside the host has these records."""
    host = [{"op": "section", "name": "host"}, *bench(name).sections["host"], {"op": "end"}]
    found = [recorded(name)[0], *host, {"op": "section", "name": named}, *records]
    with pytest.raises(InputError) as error:
        verify("f", [json.dumps(record).encode() for record in found])
    return str(error.value)


def captured(nth: int) -> tuple[dict[str, bytes], list[Record]]:
    """The files of a capture, and its restores."""
    records = section(NAMES[0], "restore")
    starts = [at for at, each in enumerate(records) if each["op"] == "capture"]
    part = records[starts[nth] : [*starts, len(records)][nth + 1]]
    files = {each["name"]: base64.b64decode(each["b64"]) for each in part if each["op"] == "blob"}
    return files, [each for each in part if each["op"] == "restore"]
