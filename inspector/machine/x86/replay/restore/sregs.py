"""Section ``sregs``: control registers, segments, the APIC base, PDPTEs."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.x86.kvm import sregs
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore import states
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.guest_memory import own_memory
from inspector.machine.x86.replay.restore.structs import Struct, StructSweeps
from inspector.machine.x86.replay.restore.sweeps import OTHER, REFUSED_MSR, SAME, char_of, compare, masks

_CR4_BITS = 34
_FLAGS, _PDPTRS = 280, 288


def clear_interrupt(vcpu: WholeVcpu) -> None:
    """What the recorder does before it writes the base again (evclr)."""
    vcpu.pending.interrupt_injected = False


STRUCTS = {
    "kvm_sregs": Struct(sregs.SIZE_BYTES, sregs.get_sregs, sregs.set_sregs, clear_interrupt),
    "kvm_sregs2": Struct(sregs.SIZE2_BYTES, sregs.get_sregs2, sregs.set_sregs2, clear_interrupt),
}


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section."""
    sweeps = StructSweeps("sregs", STRUCTS)
    state, base2 = "reset", b""
    for record in records:
        match record["op"]:
            case "mk":
                bench.make(record)
                state = record.get("x", "")
                if state in ("cr0 cross product", "sregs2 pae pdptrs valid"):
                    states.set_state(bench.vcpu, "long" if state.startswith("cr0") else "pae")
                    base2 = sregs.get_sregs2(bench.vcpu)
            case "state":
                state = record["st"] if record["st"] in states.STATES else state
                yield from _state(bench.vcpu, record, state)
            case "base" | "bits" | "vals":
                yield from sweeps.replay(bench.vcpu, record)
            case "cr4pairs":
                yield from _cr4pairs(bench.vcpu, record)
            case "cr0x":
                yield from _cr0x(bench.vcpu, record)
            case "pdptr":
                yield _pdptr(bench.vcpu, record, base2)
            case "pdptmem":
                yield _pdptmem(bench.vcpu, record)
            case "mtrrmask":
                yield from _mtrrmask(bench.vcpu, record)
            case op:
                yield unknown(f"sregs.{op}")


def _state(vcpu: WholeVcpu, record: Record, state: str) -> Iterator[Answer]:
    image = bytearray(states.sregs_image(vcpu, state))
    if "apic_base" in record:
        states.put(image, states.APIC_BASE, int(record["apic_base"], 16))
    outcome = sregs.set_sregs(vcpu, bytes(image))
    yield Answer("sregs.state", record["st"], record["e"], outcome.code, not record["e"], outcome.because)


def _cr4pairs(vcpu: WholeVcpu, record: Record) -> Iterator[Answer | Agreed]:
    base = states.sregs_image(vcpu, record["state"])
    outcome = sregs.set_sregs(vcpu, base)
    text = f"CR4 in {record['state']}"
    yield Answer("sregs.cr4pairs", text, record["e"], outcome.code, not record["e"], outcome.because)
    before = int(record["base"], 16)
    for one, row in enumerate(record["rows"]):
        found, reasons = [], []
        for two in range(_CR4_BITS):
            value = before ^ 1 << one ^ (1 << two if two != one else 0)
            char, why = _try_cr4(vcpu, base, value)
            found.append(char)
            reasons.append(why)
        yield from compare("sregs.cr4pairs", f"{text}: bits {one} and", row, "".join(found), reasons)


def _try_cr4(vcpu: WholeVcpu, base: bytes, value: int) -> tuple[str, str]:
    image = bytearray(base)
    states.put(image, states.CR4, value)
    outcome = sregs.set_sregs(vcpu, bytes(image))
    char = char_of(outcome)
    if char == SAME:
        char = SAME if vcpu.cr4 == value else OTHER
        sregs.set_sregs(vcpu, base)
    return char, outcome.because


def _cr0x(vcpu: WholeVcpu, record: Record) -> Iterator[Answer | Agreed]:
    base = bytearray(states.sregs_image(vcpu, "long"))
    cr4, efer = int(record["cr4"], 16), int(record["efer"], 16)
    states.put(base, states.CR4, cr4)
    states.put(base, states.EFER, efer)
    base[19], base[17] = record["cs_l"], record["cs_db"]
    found, reasons = [], []
    for value in masks(record["bits"]):
        states.put(base, states.CR0, value)
        outcome = sregs.set_sregs(vcpu, bytes(base))
        char = char_of(outcome)
        if char == SAME and (vcpu.cr0, vcpu.efer, vcpu.cr4) != (value, efer, cr4):
            char = OTHER
        found.append(char)
        reasons.append(outcome.because)
    text = f"CR0 with EFER {efer:#x}, CR4 {cr4:#x}, CS.L {record['cs_l']}, CS.D {record['cs_db']}"
    yield from compare("sregs.cr0x", text, record["s"], "".join(found), reasons)
    states.set_state(vcpu, "long")


def _pdptr(vcpu: WholeVcpu, record: Record, base: bytes) -> Answer:
    image = bytearray(base)
    at = _PDPTRS + 8 * record["n"]
    struct.pack_into("<Q", image, _FLAGS, record["flags"])
    struct.pack_into("<Q", image, at, int(record["v"], 16))
    outcome = sregs.set_sregs2(vcpu, bytes(image))
    answer = _sregs2_answer(vcpu, record, outcome.code, at, outcome.because)
    sregs.set_sregs2(vcpu, base)
    return answer


def _pdptmem(vcpu: WholeVcpu, record: Record) -> Answer:
    image = states.sregs_image(vcpu, "pae")
    struct.pack_into("<Q", own_memory(vcpu.vm), 0x8000, int(record["v"], 16))
    outcome = sregs.set_sregs(vcpu, image)
    return _sregs2_answer(vcpu, record, outcome.code, _PDPTRS, outcome.because)


def _sregs2_answer(vcpu: WholeVcpu, record: Record, code: int, at: int, why: str) -> Answer:
    got = sregs.get_sregs2(vcpu)
    flags, value = (struct.unpack_from("<Q", got, offset)[0] for offset in (_FLAGS, at))
    expected = [record["e"], record["ge"], record["gflags"], record["g"]]
    text = f"PDPTE {record['v']}"
    return Answer(f"sregs.{record['op']}", text, expected, [code, 0, flags, f"{value:x}"], not record["e"], why)


def _mtrrmask(vcpu: WholeVcpu, record: Record) -> Iterator[Answer | Agreed]:
    """MSRs whose bits hang on the guest's physical address width: each bit alone."""
    for nth, index in enumerate(record["msr"]):
        outcomes = [access.set_msr(vcpu, int(index, 16), 1 << bit) for bit in range(64)]
        found = "".join(SAME if outcome.accepted else REFUSED_MSR for outcome in outcomes)
        reasons = [outcome.because for outcome in outcomes]
        yield from compare("sregs.mtrrmask", f"MSR {index}", record[f"s{nth}"], found, reasons)
