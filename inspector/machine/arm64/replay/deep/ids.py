"""Register ids, good and bad: which errno each has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from inspector.machine.answer import RecordError
from inspector.machine.arm64 import registers
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.replay.deep.count import Count, Counted, Record, code_of, letter
from inspector.machine.arm64.replay.deep.state import State
from inspector.machine.outcome import Outcome
from layouts.arm64 import ids
from layouts.light import partial

_COPROCESSORS = ids.make(0, 8)
_NAMED = {"VLS": ids.SVE_VLS, "Z0": ids.SVE_Z0}
_UNTRIED = -1


def _zeros(vcpu: VcpuArch, register_id: int) -> Outcome:
    return registers.put(vcpu, register_id, bytes(ids.RegisterId(register_id).size_bytes))


def _bad(state: State, record: Record) -> Iterator[Counted]:
    register_id, count, vcpu = int(record["id"], 16), Count(record), state.vcpu()
    got = vcpu.get(register_id)
    count.call(record["get"], got, "get")
    if record["set"] != _UNTRIED:
        data = got.image if got.accepted else bytes(ids.RegisterId(register_id).size_bytes)
        count.call(record["set"], vcpu.set(register_id, data), "set")
    return count.done()


def _letters(ask: Callable[[int], Outcome]) -> Callable[[int], tuple[str, str]]:
    def answer(at: int) -> tuple[str, str]:
        outcome = ask(at)
        return letter(outcome.code), outcome.because

    return answer


def _badcoproc(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record, "op")
    count.row(record["get"], _letters(lambda at: state.vcpu().get(_COPROCESSORS | at << 16)), "coprocessor")
    return count.done()


def _badcoproc_set(state: State, record: Record) -> Iterator[Counted]:
    count = Count(record, "op")
    count.row(record["set"], _letters(lambda at: _zeros(state.vcpu(), _COPROCESSORS | at << 16)), "coprocessor")
    return count.done()


def _badbits(state: State, record: Record) -> Iterator[Counted]:
    """An id with one more bit; of bits between the ranges ``-``."""
    ends = record["or_bit"].split("..")
    base, first, last = int(record["base"], 16), int(ends[0]), int(ends[-1])
    if len(record["get"]) != last + 1 - first:
        raise RecordError(f"bits {record['or_bit']}, and {len(record['get'])} answers")
    count = Count(record)
    count.row(record["get"], _letters(lambda at: state.vcpu().get(base | 1 << (first + at))), "bit")
    return count.done()


def _idmap(state: State, record: Record) -> Iterator[Counted]:
    """The errno of each id, as runs of equal ones."""
    high, vcpu = int(record["hi"], 16), state.vcpu()
    count = Count(record, "op", "what", "hi")
    ask = partial(registers.get if record["call"] == "get" else _zeros, vcpu)
    following = int(record["runs"][0][0], 16) if record["runs"] else 0
    for low, top, character in record["runs"]:
        first, last = int(low, 16), int(top, 16)
        if first != following or last < first:
            raise RecordError(f"{count.record} has no answer for {following:x}, then a run from {low} to {top}")
        following = last + 1
        register_ids = range(high | first, (high | last) + 1)
        codes = [ask(register_id).code for register_id in register_ids]
        if codes.count(code_of(character)) == len(codes):
            count.agreed[character != "0"] += len(codes)
            continue
        for register_id, code in zip(register_ids, codes, strict=True):
            count.one(character, letter(code), accepted=character == "0", where=f"{register_id - high:x}")
    return count.done()


def _null(state: State, record: Record) -> Iterator[Counted]:
    """A NULL pointer: a read that would succeed cannot store what it read."""
    name = record["id"].split()[0]
    register_id = _NAMED.get(name) or int(name, 16)
    count, vcpu = Count(record), state.vcpu()
    count.call(record["set"], vcpu.set(register_id, None), "set")
    if "get" in record:
        count.call(record["get"], vcpu.get(register_id, readable=False), "get")
    return count.done()


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "bad": _bad,
    "badcoproc": _badcoproc,
    "badcoproc_set": _badcoproc_set,
    "badbits": _badbits,
    "idmap": _idmap,
    "null": _null,
}
