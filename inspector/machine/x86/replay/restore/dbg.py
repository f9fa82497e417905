"""Section ``dbg``: KVM_SET_DEBUGREGS and KVM_SET_REGS, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.states import set_state
from inspector.machine.x86.replay.restore.structs import StructSweeps
from inspector.machine.x86.replay.restore.structures import STRUCTS, answer


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section."""
    sweeps = StructSweeps("dbg", STRUCTS)
    for record in records:
        if record["op"] == "mk":
            bench.make(record)
        elif record["op"] == "state":
            outcome = set_state(bench.vcpu, record["st"])
            yield answer("dbg.state", record["st"], record["e"], outcome.code, outcome.because)
        else:
            yield from sweeps.replay(bench.vcpu, record)
