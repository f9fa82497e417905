"""The recordings ``x86-restores-*``, a section at a time."""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.replay import sections

VERDICTS = Path(__file__).parent / "verdicts"
NAMES = ("amd-linux-6.12", "amd-linux-5.10", "intel-linux-7.2")
Record = dict[str, Any]


@cache
def recorded(name: str) -> tuple[Record, ...]:
    lines = lzma.decompress((VERDICTS / f"x86-restores-{name}.jsonl.xz").read_bytes()).splitlines()
    return tuple(json.loads(line) for line in lines)


@cache
def _bench(name: str) -> Bench:
    return Bench(name, recorded(name))


def bench(name: str) -> Bench:
    """As a recording begins."""
    found = _bench(name)
    found.vcpu, found.cpuid, found.enforces = WholeVcpu(found.kvm), "", False
    return found


def answers(name: str, section: str, records: Sequence[Record]) -> list[Answer | Agreed | NotAsked]:
    return list(sections()[section](bench(name), records))


def wrong(found: Sequence[Answer | Agreed | NotAsked]) -> list[Answer]:
    return [answer for answer in found if isinstance(answer, Answer) and not answer.agrees]
