"""KVM_GET_REG_LIST, and other things of which the machine has no tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from inspector.machine.answer import NotAsked
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.deep.count import Count, Counted, Record
from inspector.machine.arm64.replay.deep.state import State


def _list(state: State, record: Record) -> Iterator[Counted]:
    """Whether it may be asked for is answered; what it has is not asked."""
    count = Count("list", {"op": "list", "e": record["e"]})
    count.call(record["e"], state.vcpu(record["i"]).reg_list())
    yield from count.done()
    if not record["e"]:
        yield NotAsked("list", causes.REGISTER_LIST, len(record["ids"]))


def _listn(_state: State, record: Record) -> Iterator[Counted]:
    yield NotAsked(record["op"], causes.REGISTER_LIST, 1)


def _mrs_el0(_state: State, _record: Record) -> Iterator[Counted]:
    yield NotAsked("mrs_el0", causes.EL0, 1)


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "list": _list,
    "listn": _listn,
    "listsize": _listn,
    "mrs_el0": _mrs_el0,
}
