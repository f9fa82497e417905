"""The cut of the programs that ran on silicon, and its host."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from inspector.machine.answer import Answer, NotAsked
from inspector.machine.x86.host import Host
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


def wrong(found: Found) -> list[Answer]:
    return [answer for answer in found if isinstance(answer, Answer) and not answer.agrees]
