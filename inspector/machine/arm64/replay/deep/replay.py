"""A deep recording, record by record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from inspector.machine.answer import RecordError
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.replay.deep import features, ids, lists, several, sweeps, trace
from inspector.machine.arm64.replay.deep.count import Counted, Record
from inspector.machine.arm64.replay.deep.state import State

Answering = Callable[[State, Record], Iterator[Counted]]

KINDS: dict[str, Answering] = {
    **trace.KINDS,
    **features.KINDS,
    **sweeps.KINDS,
    **several.KINDS,
    **ids.KINDS,
    **lists.KINDS,
}
#: What describes the host or the recording, and is no answer to a call that this machine has.
DESCRIPTIONS = frozenset(("host", "meta", "file", "dmesg", "time", "note", "api", "okf", "cfg", "fatal"))


def replay(host: Host, records: Sequence[Record]) -> Iterator[Counted]:
    """Every answer of a recording, whose records have their shapes. Raises RecordError."""
    state = State(host, next(int(record.get("smp", "1")) for record in records if record["op"] == "host"))
    for at, record in enumerate(records):
        state.following = records[at + 1] if at + 1 < len(records) else {}
        kind = record["op"]
        answers = KINDS.get(kind)
        if answers is not None:
            yield from answers(state, record)
        elif kind not in DESCRIPTIONS:
            raise RecordError(f"a record of the unknown kind {kind!r}")
        if kind in trace.FRESH:
            state.fresh(record["s"])
        if state.section.startswith(several.SECTION):
            yield from several.silent(state, record)
