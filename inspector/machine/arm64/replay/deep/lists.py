"""KVM_GET_REG_LIST: every id at its place; what a process of the host reads of ID registers."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from inspector.machine.answer import NotAsked
from inspector.machine.arm64 import el0
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.deep.count import Count, Counted, Record, told
from inspector.machine.arm64.replay.deep.state import State
from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import DCZID


def _list(state: State, record: Record) -> Iterator[Counted]:
    """The call, the number of ids, and each id where it stands."""
    count = Count(record, "op", "e")
    outcome = state.vcpu(record["i"]).reg_list()
    count.call(record["e"], outcome)
    if not record["e"]:
        found = [outcome.image[at : at + 8][::-1].hex() for at in range(0, len(outcome.image), 8)]
        there = [record["n"], len(record["ids"])]
        count.one(there, [len(found)] * 2, accepted=True, where="number of ids")
        for at, (expected, predicted) in enumerate(zip(record["ids"], found, strict=False)):
            count.one(expected, predicted, accepted=True, where=f"id {at}")
    yield from count.done()


def _listn(state: State, record: Record) -> Iterator[Counted]:
    """How many ids there are; with room for ``in`` of them the call is E2BIG, and says so too."""
    count = Count(record)
    outcome = state.vcpu(0).reg_list()
    room = record.get("in", outcome.value)
    code = outcome.code or (errno.E2BIG if room < outcome.value else 0)
    count.one(record["e"], code, accepted=not record["e"])
    if not outcome.code:
        count.one(record["n"], outcome.value, accepted=True, where="number of ids")
    yield from count.done()


def _mrs_el0(state: State, record: Record) -> Iterator[Counted]:
    """What the recorder's own process read, or that it got SIGILL."""
    count, encoding = Count(record), encoding_of_text(record["reg"])
    found = el0.mrs(state.host, encoding)
    if encoding == DCZID and found is None:
        yield NotAsked("mrs_el0", causes.EL0, 1)
        return
    expected = None if record.get("ill") else int(told(record, "v"), 16)
    count.one(expected, found, accepted=expected is not None)
    yield from count.done()


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "list": _list,
    "listn": _listn,
    "listsize": _listn,
    "mrs_el0": _mrs_el0,
}
