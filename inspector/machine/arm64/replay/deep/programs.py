"""The recorder's guest that uses SVE: CPACR_EL1 and ZCR_EL1, ID registers, vectors and predicates, a store to a device.

Source: the recorder's program (g_sve); each step here is what one of its instructions does, or several of one kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspector.machine.arm64 import instructions, vectors
from inspector.machine.arm64.instructions import CPACR
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import Outcome
from layouts.arm64.ids import PC, PFR0, X0, ZCR, encoding_of_op
from layouts.arm64.sysregs import encodings

#: Where the program begins, and its device.
DEVICE = 0x0200_0000
_ENABLE, _LONGEST, _FIRST = 0x33_0000, 0x1FF, 5
_ZFR0 = encoding_of_op(encodings()["ID_AA64ZFR0_EL1"])
_VECTORS, _STRIDE, _STEP = 32, 11, 3
_PREDICATES = (("p5", "vl1"), ("p6", "vl16"), ("p7", "vl32"), ("p8", "vl64"))
_INSTRUCTION_BYTES = 4


def put_x(vcpu: Vcpu, number: int, value: int) -> None:
    """A general register."""
    vcpu.values[X0 + 2 * number] = value.to_bytes(8, "little")


def sve(vcpu: Vcpu) -> Outcome | None:
    """Run it up to the store: the instruction that the guest cannot execute, None where it comes there."""
    done = 0
    for step in _steps(vcpu):
        if not step.accepted:
            return step
        done += 1
    start = int.from_bytes(vcpu.values[PC], "little")
    vcpu.values[PC] = (start + (done + _MOVES) * _INSTRUCTION_BYTES).to_bytes(8, "little")
    put_x(vcpu, 0, DEVICE)
    return None


#: Instructions that are no step: MOV of X9, X1, W6 before each INDEX, X7 and X0; ORR; ISB, twice.
_MOVES = 3 + 2 + _VECTORS + 2


def _steps(vcpu: Vcpu) -> Iterator[Outcome]:
    enabled = instructions.mrs(vcpu, CPACR)
    yield enabled
    yield instructions.msr(vcpu, CPACR, enabled.value | _ENABLE)
    yield instructions.msr(vcpu, ZCR, _LONGEST)
    put_x(vcpu, 1, _LONGEST)
    put_x(vcpu, 9, _ENABLE)
    for number, read in ((3, ZCR), (4, _ZFR0), (5, PFR0)):
        found = instructions.mrs(vcpu, read)
        yield found
        put_x(vcpu, number, found.value)
    length = instructions.sve(vcpu)
    yield length
    put_x(vcpu, 2, length.value)
    for number in range(_VECTORS):
        yield vectors.index(vcpu, f"z{number}", "b", number * _STRIDE + 1, _STEP)
    put_x(vcpu, 6, (_VECTORS - 1) * _STRIDE + 1)
    yield from _predicates(vcpu)


def _predicates(vcpu: Vcpu) -> Iterator[Outcome]:
    yield vectors.ptrue(vcpu, "p0", "b")
    yield vectors.ptrue(vcpu, "ffr", "b")
    for name, element in (("p1", "h"), ("p2", "s"), ("p3", "d")):
        yield vectors.ptrue(vcpu, name, element)
    yield vectors.eor(vcpu, "p4", "p0", "p0", "p0")
    for name, pattern in _PREDICATES:
        yield vectors.ptrue(vcpu, name, "b", pattern)
    put_x(vcpu, 7, _FIRST)
    yield vectors.whilelo(vcpu, "p9", "b", 0, _FIRST)
    yield vectors.ptrue(vcpu, "p10", "b", "mul3")
    yield vectors.ptrue(vcpu, "p11", "b", "pow2")
    yield vectors.eor(vcpu, "p12", "p0", "p0", "p1")
    yield vectors.eor(vcpu, "p13", "p0", "p0", "p2")
    yield vectors.eor(vcpu, "p14", "p0", "p1", "p3")
    yield vectors.ptrue(vcpu, "p15", "d")
    yield vectors.wrffr(vcpu, "p9")
