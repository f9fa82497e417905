"""Sections that write many ID registers at once: what another vCPU sees, another init, the guest, and a run leave.

The recorder lists only what differs there; what it does not list was as it says the comparison was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from inspector.machine.answer import RecordError, text_of
from inspector.machine.arm64.guest import mrs
from inspector.machine.arm64.replay.deep.count import Count, Counted, Record
from inspector.machine.arm64.replay.deep.state import State
from layouts.arm64.hosts import encoding_of_text

#: What such sections' names begin with.
SECTION = "multi_"


def _value(state: State, register_id: int, number: int = 0) -> int:
    return state.vcpu(number).get(register_id).value


def _listed(state: State, record: Record) -> Iterator[Counted]:
    """A difference that the recorder lists: the register's value then."""
    register_id, count = int(record["id"], 16), Count(record)
    state.told.add(register_id)
    count.one(int(record["now"], 16), _value(state, register_id), accepted=True)
    return count.done()


def _vcpu1diff(state: State, record: Record) -> Iterator[Counted]:
    """A register that vCPU 1 cannot read, or reads otherwise than vCPU 0."""
    register_id, count = int(record["id"], 16), Count(record)
    state.told.add(register_id)
    got = state.vcpu(1).get(register_id)
    values = [int(record[name], 16) for name in ("v0", "v1")]
    count.one([record["e"], *values], [got.code, _value(state, register_id), got.value], accepted=not record["e"])
    return count.done()


def _guest_mrs(state: State, record: Record) -> Iterator[Counted]:
    """What the guest read of its own registers."""
    count = Count(record, "op", "s")
    for name, value in record["r"].items():
        predicted = mrs(state.vcpu(), encoding_of_text(name))
        count.one(int(value, 16), predicted, accepted=True, where=name)
    return count.done()


def silent(state: State, record: Record) -> Iterator[Counted]:
    """What was compared and not listed, once the list is over; of records of such a section."""
    kind, following = record["op"], state.following.get("op")
    if kind == "note":
        yield from _unlisted(state, "vcpu1diff", 1, as_shown=True)
    elif kind in ("init", "reinitdiff") and following == "mem":
        yield from _unlisted(state, "reinitdiff", 0, as_shown=False)
    elif kind in ("run", "guest_mrs", "rundiff") and following == "set":
        yield from _unlisted(state, "rundiff", 0, as_shown=False)
        state.written = {}
    elif kind == "set" and record["i"] == 1 and state.has_run:
        yield from _after_run(state, record)


def _unlisted(state: State, kind: str, number: int, *, as_shown: bool) -> Iterator[Counted]:
    """The registers of the last sweep that no record told of: as vCPU 0 showed them, or as they were written."""
    count = Count({"op": kind, "s": state.section})
    before = state.shown if as_shown else state.written
    for register_id in state.ids:
        if register_id not in state.told:
            found = _value(state, register_id, number)
            count.one(before.get(register_id), found, accepted=True, where=f"{register_id:x}, not listed")
    state.told = set()
    yield from count.done()


def _after_run(state: State, record: Record) -> Iterator[Counted]:
    """Four writes after the run, the last through vCPU 1: the value is then as listed, or as before them."""
    register_id, count = int(record["id"], 16), Count({"op": "changed_after_run", "id": record["id"]})
    expected = state.written.get(register_id)
    if state.following.get("op") == "changed_after_run" and state.following["id"] == record["id"]:
        state.counted = state.following
        expected = int(state.following["now"], 16)
    count.one(expected, _value(state, register_id), accepted=True)
    state.written.pop(register_id, None)
    yield from count.done()


def _changed_after_run(state: State, record: Record) -> Iterator[Counted]:
    """Counted with the write before it."""
    if record is not state.counted:
        raise RecordError(f"{text_of(record)} behind no write to that register through vCPU 1")
    return iter(())


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "vcpu1diff": _vcpu1diff,
    "reinitdiff": _listed,
    "rundiff": _listed,
    "changed_after_run": _changed_after_run,
    "guest_mrs": _guest_mrs,
}
