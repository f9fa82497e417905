"""Sweeps over the values of registers: ID registers, firmware registers, caches, vector-length sets."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence

from inspector.machine.answer import NotAsked
from inspector.machine.arm64 import held, idregs, sve
from inspector.machine.arm64.registers import has_sysreg
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.deep.count import ACCEPTED, Count, Counted, Record, letter
from inspector.machine.arm64.replay.deep.state import State
from inspector.machine.outcome import Check, Outcome
from layouts.arm64 import id_fields as of
from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import CCSIDR, CTR, MPIDR, SVE_VLS, RegisterId, sysreg_id
from layouts.vocabulary import without

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
        outcome, read_back = self._written(value)
        found = "0"
        if not outcome.accepted:
            found = letter(outcome.code)
        elif read_back != value:
            found = "w" if read_back == self.base else "x"
            self.read_back[value] = read_back
        self._known[value] = found
        return found

    def _written(self, value: int) -> idregs.Written:
        if self.encoding == MPIDR:
            return idregs.Written(Outcome("ok", 0, (Check("any value is kept", held=True),), "reset_mpidr"), value)
        if self.encoding not in self._asked.host.kernel.registers:
            check = Check("the kernel has such a register", held=False)
            return idregs.Written(Outcome("errno", errno.ENOENT, (check,), "kvm_sys_reg_set_user"), 0)
        return idregs.write(self._asked.of(value))

    def because(self, value: int) -> str:
        """Why: asked again, as it is seldom told."""
        return self._written(value).outcome.because

    def row(self, count: Count, expected: str, values: Sequence[int], where: str) -> None:
        """A row of writes."""
        known, write = self._known, self._write
        predicted = "".join([known.get(value) or write(value) for value in values])
        count.letters(expected, predicted, lambda at: self.because(values[at]), where)


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
    count = Count("idr", {"op": "idr", "s": record["s"], "r": record["r"], "b": record["b"]})
    count.one(base, tried.base, accepted=True, where="value")
    same = tried.write(base)
    count.letters(record["same"], "0" if same in ACCEPTED else "i", lambda _: tried.because(base), "same")
    for nibble, row in enumerate(record["nib"]):
        tried.row(count, row, _digits(base & ~(0xF << 4 * nibble), 4 * nibble), f"{name} nib {nibble}")
    tried.row(count, record["flip"], [base ^ 1 << bit for bit in range(_BITS)], f"{name} flip")
    tried.row(count, record["sp"], (0, _U64, base & _U32, base >> 32 << 32), f"{name} sp")
    for text in record["rnd"]:
        _random(count, tried, text)
    for written, read_back in record["x"]:
        found = tried.read_back.get(int(written, 16))
        count.one(int(read_back, 16), found, accepted=True, where=f"{name} {written} reads back")
    return count.done()


#: How random writes end: what came of them.
_SIGNS = {"+": "0", "~": "w", "!": "x"}
_RANDOM = re.compile("([0-9a-f]+)([-+~!])(.?)")


def _random(count: Count, tried: _Tried, text: str) -> None:
    found = _RANDOM.match(text)
    assert found is not None
    digits, sign, code = found.groups()
    value = int(digits, 16)
    tried.row(count, _SIGNS.get(sign) or code, (value,), f"{tried.encoding:x} {text}")


def _idno(state: State, record: Record) -> Iterator[Counted]:
    """An id that is none: reading it, writing 0 and all ones."""
    register_id, vcpu = sysreg_id(encoding_of_text(record["r"])), state.vcpu()
    count = Count("idno", record)
    count.call(record["get"], vcpu.get(register_id), "get")
    count.call(record["set0"], vcpu.set(register_id, bytes(8)), "set 0")
    count.call(record["set1"], vcpu.set(register_id, b"\xff" * 8), "set ~0")
    return count.done()


def _leakn(_state: State, record: Record) -> Iterator[Counted]:
    """A sweep that restored every register left all of them as they were."""
    count = Count("leakn", record)
    count.one(record["n"], 0, accepted=True)
    return count.done()


def _pair(state: State, record: Record) -> Iterator[Counted]:
    """Two fields, each with every value: one write where they share a register, else one after the other."""
    first, second = RegisterId(record["a"], 16).encoding, RegisterId(record["b"], 16).encoding
    a, b = _Tried(state, first), _Tried(state, second)
    base_a, base_b = int(record["ab"], 16), int(record["bb"], 16)
    count = Count("pair", {"op": "pair", "s": record["s"], "n": record["n"]})
    for digit, row in enumerate(record["r"]):
        value = base_a & ~(0xF << record["as"]) | digit << record["as"]
        if first == second:
            kept = value & ~(0xF << record["bs"])
        else:
            kept = base_b & ~(0xF << record["bs"])
            _first(count, a, value, record["first"][digit], f"first {digit:x}")
        b.row(count, row, _digits(kept, record["bs"]), f"{digit:x}")
    for wrote_a, wrote_b, read_a, read_b in record["ch"]:
        _changed(count, (a, b), (int(wrote_a, 16), int(wrote_b, 16)), (int(read_a, 16), int(read_b, 16)))
    return count.done()


def _first(count: Count, tried: _Tried, value: int, expected: str, where: str) -> None:
    predicted = tried.write(value)
    predicted = "0" if predicted in ACCEPTED else predicted
    count.letters(expected, predicted, lambda _: tried.because(value), where)


def _changed(count: Count, tried: tuple[_Tried, _Tried], wrote: tuple[int, int], read: tuple[int, int]) -> None:
    """Read-backs that differ from what was written."""
    found = []
    for one, value in zip(tried, wrote, strict=True):
        answer = one.write(value)
        found.append(value if answer == "0" else one.read_back[value] if answer in ACCEPTED else one.base)
    if tried[0].encoding == tried[1].encoding:
        found[0] = found[1]
    count.one(list(read), found, accepted=True, where="read back")


def _ctr(state: State, record: Record) -> Iterator[Counted]:
    """CTR_EL0: L1Ip, IDC, DIC, DminLine, and IminLine along the rows."""
    base, tried = int(record["b"], 16), _Tried(state, CTR)
    count = Count("ctr", {"op": "ctr", "b": record["b"]})
    count.one(base, tried.base, accepted=True, where="value")
    kept = without(base, of.CTR_L1IP, of.CTR_IDC, of.CTR_DIC, of.CTR_DMINLINE, of.CTR_IMINLINE)
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
    count = Count("ar", {"op": "ar", "s": record["s"], "id": record["id"], "b": record["b"]})
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


def _put(state: State, register_id: int, value: int, size: int = 8) -> tuple[int, int, str]:
    """A write: its errno, what the register reads then, and why."""
    vcpu = state.vcpu()
    outcome = vcpu.set(register_id, value.to_bytes(size, "little"))
    return outcome.code, int.from_bytes(vcpu.get(register_id).image, "little"), outcome.because


def _sysw(state: State, record: Record) -> Iterator[Counted]:
    register_id = int(record["id"], 16)
    size = RegisterId(register_id).size_bytes
    count, base = Count("sysw", record), int(record["b"], 16)
    counts = held.is_clock(RegisterId(register_id).encoding)
    if counts:
        yield NotAsked("sysw", causes.CLOCK, 1)
    else:
        count.one(base, int.from_bytes(state.vcpu().get(register_id).image, "little"), accepted=True, where="value")
    for value, code, read in [*record["w"], (record["b"], record["restore"], record["after"])]:
        found, now, because = _put(state, register_id, int(value, 16), size)
        read_back = int(read, 16)
        if counts and read_back - now & _U64 < _SOON:
            read_back = now
        count.one([code, read_back], [found, now], accepted=not code, because=because, where=f"write {value}")
    yield from count.done()


def _bmap(state: State, record: Record) -> Iterator[Counted]:
    """A firmware bitmap: each bit alone, none, and what it was."""
    register_id, count = int(record["id"], 16), Count("bmap", record)
    got = state.vcpu().get(register_id)
    count.call(record["get"], got, "get")
    if not record["get"]:
        count.one(int(record["b"], 16), got.value, accepted=True, where="value")

    def put(bit: int) -> tuple[str, str]:
        code, _, because = _put(state, register_id, 1 << bit)
        return letter(code), because

    count.row(record["bits"], put, "bit")
    for name, value in (("zero", 0), ("restore", int(record["b"], 16))):
        code, _, because = _put(state, register_id, value)
        count.one(record[name], code, accepted=not record[name], because=because, where=name)
    return count.done()


def _ccsidr(state: State, record: Record) -> Iterator[Counted]:
    register_id, count = CCSIDR | record["i"], Count("ccsidr", record)
    got = state.vcpu().get(register_id)
    count.call(record["get"], got, "get")
    if record["get"]:
        count.one(record["set0"], _put(state, register_id, 0, 4)[0], accepted=not record["set0"], where="set 0")
        return count.done()
    base = int(record["b"], 16)
    count.one(base, got.value, accepted=True, where="value")

    def put(value: int) -> tuple[str, str]:
        code, now, because = _put(state, register_id, value, 4)
        _put(state, register_id, base, 4)
        return letter(code) if code else "0" if now == value else "w" if now == base else "x", because

    count.row(record["same"], lambda _: put(base), "same")
    count.row(record["flip"], lambda bit: put(base ^ 1 << bit), "flip")
    for value, code, read_back in record["rnd"]:
        found, now, because = _put(state, register_id, int(value, 16), 4)
        count.one([code, int(read_back, 16)], [found, now], accepted=not code, because=because, where=value)
        _put(state, register_id, base, 4)
    return count.done()


# Vector lengths


def _set_vls(state: State, vqs: int) -> tuple[str, str]:
    outcome = state.vcpu().set(SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))
    return letter(outcome.code), outcome.because


def _vlsall(state: State, record: Record) -> Iterator[Counted]:
    """All 65,536 sets of vq 1 to 16, one after the other on one vCPU."""
    count, vcpu, host_vqs = Count("vlsall", {"op": "vlsall"}), state.vcpu(), state.host.sve_vqs
    ok = {int(vqs, 16): (int(read, 16), others) for vqs, read, others in record["ok"]}
    asked = sorted(ok.keys() | sve.accepted_vls(host_vqs))
    count.agreed[1] += _SUBSETS - len(asked)
    for vqs in asked:
        outcome = sve.check_vls(vqs, host_vqs)
        count.one(vqs in ok, outcome.accepted, accepted=vqs in ok, because=outcome.because, where=f"vqs {vqs:x}")
        if vqs in ok:
            vcpu.set(SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))
            count.one(ok[vqs], (vcpu.get(SVE_VLS).value, 1), accepted=True, where=f"vqs {vqs:x} reads")
    return count.done()


def _vlsbit(state: State, record: Record) -> Iterator[Counted]:
    count, all_vqs = Count("vlsbit", {"op": "vlsbit"}), state.host.sve_vqs
    count.row(record["alone"], lambda bit: _set_vls(state, 1 << bit), "alone")
    count.row(record["withdef"], lambda bit: _set_vls(state, all_vqs | 1 << bit), "withdef")
    count.row(record["prefixes"], lambda bit: _set_vls(state, (2 << bit) - 1), "prefixes")
    last = _BITS - 1
    count.row(
        record["defprefix"],
        lambda bit: _set_vls(state, all_vqs if bit == last else all_vqs & (2 << bit) - 1),
        "defprefix",
    )
    return count.done()


KINDS: dict[str, Callable[[State, Record], Iterator[Counted]]] = {
    "idr": _idr,
    "idno": _idno,
    "leakn": _leakn,
    "pair": _pair,
    "ctr": _ctr,
    "ar": _ar,
    "sysw": _sysw,
    "bmap": _bmap,
    "ccsidr": _ccsidr,
    "vlsall": _vlsall,
    "vlsbit": _vlsbit,
}
