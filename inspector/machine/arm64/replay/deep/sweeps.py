"""Sweeps over the values of registers: ID registers, firmware registers, caches, vector-length sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from inspector.machine.answer import NotAsked, RecordError, text_of
from inspector.machine.arm64 import held, idregs, sve
from inspector.machine.arm64.registers import has_sysreg
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.deep.count import ACCEPTED, Count, Counted, Record, letter, told
from inspector.machine.arm64.replay.deep.state import State
from inspector.machine.arm64.replay.id_registers import written
from layouts.arm64 import id_fields as of
from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import CCSIDR, CTR, SVE_VLS, RegisterId, sysreg_id

_DIGITS, _BITS, _U64 = 16, 64, (1 << 64) - 1
_VQ_BITS = 512
_SUBSETS = 1 << 16
_U32 = 0xFFFF_FFFF
#: Ticks between writing a counter and reading it: a counter goes on from what is written.
_SOON = 1 << 30


class _Tried:
    """Writes to one ID register, each undone again: how the recorder writes down what came of them.

    ``read_back`` has what the register reads then, of values that were taken and not kept.
    """

    def __init__(self, state: State, encoding: int) -> None:
        vm, vcpu = state.vm, state.vcpu()
        self.encoding = encoding
        self.base = vcpu.get(sysreg_id(encoding)).value
        self._asked = idregs.IdWrite(vm.host, encoding, 0, vcpu.id_features, self.base, vm.ran, vm.writable_imp)
        self._known, self.read_back = state.tried.setdefault(idregs.hangs_on(self._asked), ({}, {}))

    def write(self, value: int) -> str:
        """``0``: reads back as written, ``w``: as before, ``x``: as something else; else the errno's letter."""
        return self._known.get(value) or self._write(value)

    def _write(self, value: int) -> str:
        outcome, read_back = written(self._asked.of(value))
        found = "0"
        if not outcome.accepted:
            found = letter(outcome.code)
        elif read_back != value:
            found = "w" if read_back == self.base else "x"
            self.read_back[value] = read_back
        self._known[value] = found
        return found

    def because(self, value: int) -> str:
        """Why: asked again, as it is seldom told."""
        return written(self._asked.of(value)).outcome.because

    def reads(self, value: int) -> int:
        """What the register reads after a write."""
        return value if self.write(value) == "0" else self.read_back.get(value, self.base)

    def row(self, count: Count, expected: str, values: Sequence[int], where: str) -> str:
        """A row of writes, and what the machine says of each."""
        known, write = self._known, self._write
        predicted = "".join([known.get(value) or write(value) for value in values])
        count.letters(expected, predicted, lambda at: self.because(values[at]), where)
        return predicted


def _digits(kept: int, lsb: int) -> list[int]:
    """Each value of a field of four bits, other bits kept."""
    return [kept | digit << lsb for digit in range(_DIGITS)]


def _idr(state: State, record: Record) -> Iterator[Counted]:
    encoding = encoding_of_text(record["r"])
    if state.section != record["s"] or not state.sweeping:
        state.ids, state.sweeping = [], True
    state.ids.append(sysreg_id(encoding))
    tried, base = _Tried(state, encoding), int(record["b"], 16)
    name = f"{record['s']} {record['r']}"
    count = Count(record, "op", "s", "r", "b")
    count.one(base, tried.base, accepted=True, where="value")
    _first(count, tried, base, record["same"], "same")
    rows: list[tuple[str, str, Sequence[int]]] = [
        (f"nib {nibble}", row, _digits(base & ~(0xF << 4 * nibble), 4 * nibble))
        for nibble, row in enumerate(record["nib"])
    ]
    rows.append(("flip", record["flip"], [base ^ 1 << bit for bit in range(_BITS)]))
    rows.append(("sp", record["sp"], (0, _U64, base & _U32, base >> 32 << 32)))
    answered = [(values, tried.row(count, row, values, f"{name} {where}")) for where, row, values in rows]
    changed = [
        (value, tried.reads(value))
        for values, predicted in answered
        for value, found in zip(values, predicted, strict=True)
        if found == "x"
    ]
    for text in record["rnd"]:
        _random(count, tried, text)
    _read_backs(count, record["x"], changed[:_READ_BACKS], f"{name} ")
    return count.done()


#: As many values that read back as something else the recorder lists, of an ID register and of a pair of fields.
_READ_BACKS, _OF_PAIR = 300, 40


def _read_backs(count: Count, recorded: Sequence[Sequence[str]], changed: Sequence[tuple[int, ...]], name: str) -> None:
    """The list of writes that do not read back as written, whole: what was written, and what it reads as."""
    listed = [tuple([int(value, 16) for value in row]) for row in recorded]
    for at, (expected, predicted) in enumerate(zip_longest(listed, changed)):
        count.one(expected, predicted, accepted=True, where=f"{name}read-back {at}")


#: How random writes end: what came of them.
_SIGNS = {"+": "0", "~": "w", "!": "x"}
_RANDOM = re.compile("([0-9a-f]+)([-+~!])(.*)")


def _random(count: Count, tried: _Tried, text: str) -> None:
    found = _RANDOM.match(text)
    assert found is not None
    digits, sign, rest = found.groups()
    value, where = int(digits, 16), f"{tried.encoding:x} {text}"
    tried.row(count, _SIGNS.get(sign) or rest, (value,), where)
    if sign == "!":
        count.one(int(rest, 16), tried.reads(value), accepted=True, where=f"{where} reads back")


def _idno(state: State, record: Record) -> Iterator[Counted]:
    """An id that is none: reading it, writing 0 and all ones."""
    register_id, vcpu = sysreg_id(encoding_of_text(record["r"])), state.vcpu()
    count = Count(record)
    count.call(record["get"], vcpu.get(register_id), "get")
    count.call(record["set0"], vcpu.set(register_id, bytes(8)), "set 0")
    count.call(record["set1"], vcpu.set(register_id, b"\xff" * 8), "set ~0")
    return count.done()


def _leakn(state: State, record: Record) -> Iterator[Counted]:
    """A sweep that restored every register left all of them as they were."""
    count = Count(record)
    count.one([record["n"], record["of"]], [0, len(state.ids)], accepted=True)
    return count.done()


def _leak(state: State, record: Record) -> Iterator[Counted]:
    """A register that such a sweep left as something else."""
    count = Count(record)
    count.one(int(record["now"], 16), state.vcpu().get(int(record["id"], 16)).value, accepted=True)
    return count.done()


def _pair(state: State, record: Record) -> Iterator[Counted]:
    """Two fields, each with every value: one write where they share a register, else one after the other."""
    count = Count(record, "op", "s", "n")
    of_one = record["a"] == record["b"]
    if of_one == bool(record["first"]):
        raise RecordError(f"{text_of(count.record)}: two registers have answers to the first write, one has none")
    a, b = (_Tried(state, RegisterId(record[name], 16).encoding) for name in ("a", "b"))
    base_a, base_b = int(record["ab"], 16), int(record["bb"], 16)
    for recorded, tried in ((base_a, a), (base_b, b)):
        count.one(recorded, tried.base, accepted=True, where=f"value of {tried.encoding:x}")
    changed: list[tuple[int, ...]] = []
    for digit, row in enumerate(record["r"]):
        value = base_a & ~(0xF << record["as"]) | digit << record["as"]
        values = _digits((value if of_one else base_b) & ~(0xF << record["bs"]), record["bs"])
        if of_one:
            predicted = b.row(count, row, values, f"{digit:x}")
            changed += [
                (w, w, b.reads(w), b.reads(w)) for w, found in zip(values, predicted, strict=True) if found == "x"
            ]
            continue
        first = _first(count, a, value, record["first"][digit], f"first {digit:x}")
        predicted = b.row(count, row, values, f"{digit:x}")
        reads, all_listed = a.reads(value), first == "0" and a.reads(value) != value
        changed += [
            (value, w, reads, b.reads(w))
            for w, found in zip(values, predicted, strict=True)
            if all_listed or found in _IGNORED
        ]
    _read_backs(count, record["ch"], changed[:_OF_PAIR], "")
    return count.done()


#: Letters of writes that were taken and do not read back.
_IGNORED = "wx"


def _first(count: Count, tried: _Tried, value: int, expected: str, where: str) -> str:
    predicted = tried.write(value)
    predicted = "0" if predicted in ACCEPTED else predicted
    count.letters(expected, predicted, lambda _: tried.because(value), where)
    return predicted


def _ctr(state: State, record: Record) -> Iterator[Counted]:
    """CTR_EL0: L1Ip, IDC, DIC, DminLine, and IminLine along the rows."""
    base, tried = int(record["b"], 16), _Tried(state, CTR)
    count = Count(record, "op", "b")
    count.one(base, tried.base, accepted=True, where="value")
    kept = of.CTR_IMINLINE.put(base, 0)
    rows = iter(record["r"])
    for l1ip in range(4):
        for idc in range(2):
            for dic in range(2):
                for dmin in range(_DIGITS):
                    value = of.CTR_DMINLINE.put(of.CTR_L1IP.put(kept, l1ip), dmin)
                    value = of.CTR_DIC.put(of.CTR_IDC.put(value, idc), dic)
                    tried.row(count, next(rows), _digits(value, 0), f"{value:x}")
    return count.done()


def _ar(state: State, record: Record) -> Iterator[Counted]:
    """After the first run: every bit flipped, the value itself, 0 and all ones, nothing undone."""
    register_id, base, vcpu = int(record["id"], 16), int(record["b"], 16), state.vcpu()
    count = Count(record, "op", "s", "id", "b")
    count.one(base, vcpu.get(register_id).value, accepted=True, where="value")

    encoding = RegisterId(register_id).encoding
    is_id = encoding in state.host.kernel.registers and has_sysreg(vcpu, encoding)
    tried = _Tried(state, encoding) if is_id else None

    def put(bit: int) -> tuple[str, str]:
        nonlocal tried
        value = base ^ 1 << bit
        if tried is not None:
            answer = tried.write(value)
            if answer not in ACCEPTED:
                # A refused write changes nothing, as one that is undone.
                return answer, "" if answer == record["flip"][bit] else tried.because(value)
            # Those that follow hang on what this one leaves.
            tried = None
        outcome = vcpu.set(register_id, value.to_bytes(8, "little"))
        return letter(outcome.code), outcome.because

    count.row(record["flip"], put, "flip")
    for name, value in (("same", base), ("zero", 0), ("ones", _U64)):
        outcome = vcpu.set(register_id, value.to_bytes(8, "little"))
        count.call(record[name], outcome, name)
    count.one(int(record["now"], 16), vcpu.get(register_id).value, accepted=True, where="now")
    return count.done()


def _put(state: State, register_id: int, value: int) -> tuple[int, int, str]:
    """A write: its errno, what the register reads then, and why."""
    vcpu = state.vcpu()
    outcome = vcpu.set(register_id, value.to_bytes(RegisterId(register_id).size_bytes, "little"))
    return outcome.code, int.from_bytes(vcpu.get(register_id).image, "little"), outcome.because


def _sysw(state: State, record: Record) -> Iterator[Counted]:
    register_id = int(record["id"], 16)
    count, base = Count(record), int(record["b"], 16)
    counts = held.is_clock(RegisterId(register_id).encoding)
    if counts:
        yield NotAsked("sysw", causes.CLOCK, 1)
    else:
        count.one(base, int.from_bytes(state.vcpu().get(register_id).image, "little"), accepted=True, where="value")
    for value, code, read in [*record["w"], (record["b"], record["restore"], record["after"])]:
        found, now, because = _put(state, register_id, int(value, 16))
        read_back = int(read, 16)
        if counts and read_back - now & _U64 < _SOON:
            read_back = now
        count.one([code, read_back], [found, now], accepted=not code, because=because, where=f"write {value}")
    yield from count.done()


def _bmap(state: State, record: Record) -> Iterator[Counted]:
    """A firmware bitmap: each bit alone, none, and what it was."""
    register_id, base, count = int(record["id"], 16), int(record["b"], 16), Count(record)
    got = state.vcpu().get(register_id)
    count.call(record["get"], got, "get")
    if not record["get"]:
        count.one(base, got.value, accepted=True, where="value")

    def put(bit: int) -> tuple[str, str]:
        code, _, because = _put(state, register_id, 1 << bit)
        return letter(code), because

    count.row(record["bits"], put, "bit")
    for name, value in (("zero", 0), ("restore", base)):
        code, _, because = _put(state, register_id, value)
        count.one(record[name], code, accepted=not record[name], because=because, where=name)
    return count.done()


def _ccsidr(state: State, record: Record) -> Iterator[Counted]:
    register_id, count = CCSIDR | record["i"], Count(record)
    got = state.vcpu().get(register_id)
    count.call(record["get"], got, "get")
    if record["get"]:
        count.call(told(record, "set0"), state.vcpu().set(register_id, bytes(4)), "set 0")
        return count.done()
    base, same, flip, rnd = int(told(record, "b"), 16), *(told(record, name) for name in ("same", "flip", "rnd"))
    count.one(base, got.value, accepted=True, where="value")

    def put(value: int) -> tuple[str, str]:
        code, now, because = _put(state, register_id, value)
        _put(state, register_id, base)
        return letter(code) if code else "0" if now == value else "w" if now == base else "x", because

    count.row(same, lambda _: put(base), "same")
    count.row(flip, lambda bit: put(base ^ 1 << bit), "flip")
    for value, code, read_back in rnd:
        found, now, because = _put(state, register_id, int(value, 16))
        count.one([code, int(read_back, 16)], [found, now], accepted=not code, because=because, where=value)
        _put(state, register_id, base)
    return count.done()


# Vector lengths


def _set_vls(state: State, vqs: int) -> tuple[str, str]:
    outcome = state.vcpu().set(SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))
    return letter(outcome.code), outcome.because


def _vlsall(state: State, record: Record) -> Iterator[Counted]:
    """All 65,536 sets of vq 1 to 16, one after the other on one vCPU, and how many had which errno."""
    count, vcpu, host_vqs = Count(record, "op"), state.vcpu(), state.host.sve_vqs
    ok = {int(vqs, 16): (int(read, 16), others) for vqs, read, others in record["ok"]}
    asked = sorted(ok.keys() | sve.accepted_vls(host_vqs))
    count.agreed = [0, _SUBSETS - len(asked)]
    for vqs in asked:
        outcome = sve.check_vls(vqs, host_vqs)
        count.one(vqs in ok, outcome.accepted, accepted=vqs in ok, because=outcome.because, where=f"vqs {vqs:x}")
        if vqs in ok:
            vcpu.set(SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))
            count.one(ok[vqs], (vcpu.get(SVE_VLS).value, 1), accepted=True, where=f"vqs {vqs:x} reads")
    of_each = {"0": len(ok), f"{sve.check_vls(0, host_vqs).code}": _SUBSETS - len(ok)}
    if record["hist"] != of_each:
        count.one(record["hist"], of_each, accepted=False, where="by errno")
    return count.done()


def _vlsbit(state: State, record: Record) -> Iterator[Counted]:
    count, all_vqs = Count(record, "op"), state.host.sve_vqs
    count.row(record["alone"], lambda bit: _set_vls(state, 1 << bit), "alone")
    count.row(record["withdef"], lambda bit: _set_vls(state, all_vqs | 1 << bit), "withdef")
    count.row(record["prefixes"], lambda bit: _set_vls(state, (2 << bit) - 1), "prefixes")
    count.row(record["defprefix"], lambda bit: _set_vls(state, all_vqs & (2 << bit) - 1), "defprefix")
    return count.done()


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "idr": _idr,
    "idno": _idno,
    "leakn": _leakn,
    "leak": _leak,
    "pair": _pair,
    "ctr": _ctr,
    "ar": _ar,
    "sysw": _sysw,
    "bmap": _bmap,
    "ccsidr": _ccsidr,
    "vlsall": _vlsall,
    "vlsbit": _vlsbit,
}
