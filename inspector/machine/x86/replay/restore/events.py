"""Section ``events``: KVM_SET_VCPU_EVENTS over flags, vectors and states; MP and nested state in SMM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.x86.kvm.pending import VALID_SMM, VcpuEvents
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.nested import BUFFER_SIZE_BYTES, unread
from inspector.machine.x86.replay.restore.structs import StructSweeps
from inspector.machine.x86.replay.restore.structures import STRUCTS, answer, encap, long_mode
from inspector.machine.x86.replay.restore.sweeps import char_of_errno, expand

Found = Iterator[Answer | Agreed | NotAsked]
_FLAGS = 64


def replay(bench: Bench, records: Sequence[Record]) -> Found:
    """The answers of a section."""
    sweeps = StructSweeps("events", STRUCTS)
    for record in records:
        vcpu = bench.vcpu
        match record["op"]:
            case "mk":
                bench.make(record)
            case "encap":
                yield encap("events", vcpu, record)
            case "state":
                outcome = long_mode(vcpu) if record["st"] == "long" else vcpu.pending.set(_smm(sweeps.base))
                yield answer("events.state", record["st"], record["e"], outcome.code, outcome.because)
            case "base" | "bits" | "vals":
                yield from sweeps.replay(vcpu, record)
            case "evgrid":
                yield from _grid(vcpu, sweeps.base, record)
            case "evall":
                yield _all(vcpu, sweeps.base, record)
            case "in_smm":
                outcome = long_mode(vcpu)
                yield answer("events.in_smm", "KVM_SET_SREGS", record["set_sregs"], outcome.code, outcome.because)
            case "nested_in_smm":
                yield from _nested(vcpu, record)
            case op:
                yield unknown(f"events.{op}")


def _smm(base: bytes) -> bytes:
    return VcpuEvents.read(base)._replace(flags=VALID_SMM, smm=1).image()


def _nested(vcpu: WholeVcpu, record: Record) -> Found:
    code, image = vcpu.nested.get(BUFFER_SIZE_BYTES)
    image = image or unread()
    expected = [record["ge"], record["hdr"]]
    yield answer("events.nested_in_smm", "get", expected, [code, image[:128].hex()])
    outcome = vcpu.nested.set(image)
    yield answer(
        "events.nested_in_smm", "set", record["set"], outcome.code, outcome.because, accepted=not record["set"]
    )


def _grid(vcpu: WholeVcpu, base: bytes, record: Record) -> Found:
    """Injected, pending and error code by row; flags 0 to 63, and in each the vectors, by character."""
    vectors = record["nr"]
    agreed = accepted = 0
    start = VcpuEvents.read(base)
    for row, chars in record["rows"].items():
        injected, pending, has_error = (int(digit) for digit in row)
        given = start._replace(
            injected=injected,
            pending=pending,
            has_error_code=has_error,
            error_code=0x14 * has_error,
            payload=0x1234000,
            has_payload=0,
        )
        cases = list(product(range(_FLAGS), vectors))
        for (flags, vector), char in zip(cases, expand(chars, len(cases)), strict=True):
            mine, because = _one(vcpu, base, given._replace(flags=flags, vector=vector))
            if mine == char:
                agreed, accepted = agreed + 1, accepted + (char != "i")
            else:
                text = f"{row}: flags {flags:#x}, vector {vector}"
                yield answer("events.evgrid", text, char, mine, because, accepted=char != "i")
    yield Agreed("events.evgrid", accepted, agreed - accepted)


def _one(vcpu: WholeVcpu, base: bytes, given: VcpuEvents) -> tuple[str, str]:
    """What was kept of an exception: bit 0 injected, 1 pending, 2 its vector, 3 whether it has an error code."""
    outcome = vcpu.pending.set(given.image())
    if not outcome.accepted:
        return char_of_errno(outcome.code), outcome.because
    got = VcpuEvents.read(vcpu.pending.get())
    vcpu.pending.set(base)
    same_error = got.has_error_code == given.has_error_code
    kept = bool(got.injected) | bool(got.pending) << 1 | (got.vector == given.vector) << 2 | same_error << 3
    return f"{kept:x}", outcome.because


def _all(vcpu: WholeVcpu, base: bytes, record: Record) -> Answer:
    outcome = vcpu.pending.set(bytes.fromhex(record["set"]))
    got = vcpu.pending.get()
    vcpu.pending.set(base)
    text = f"flags {record['flags']:#x}, {record['in']}"
    expected = [record["e"], record["got"]]
    return answer("events.evall", text, expected, [outcome.code, got.hex()], outcome.because, accepted=not record["e"])
