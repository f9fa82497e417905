"""What SVE instructions compute: vectors and predicates at the vector length in force.

Source: Arm ARM (DDI 0487), C8 (INDEX, PTRUE, WHILELO, NOT, EOR, SETFFR, WRFFR), DecodePredCount, PredTest. A predicate
has a bit for each byte of a vector; an element is active by its lowest.
"""

from __future__ import annotations

from inspector.machine.arm64 import instructions
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import Outcome
from layouts.arm64.ids import PSTATE
from layouts.arm64.registers import PSTATE as PSTATE_BITS

#: Sizes of elements in bytes, as instructions name them.
ELEMENT_BYTES = {"b": 1, "h": 2, "s": 4, "d": 8}
#: Patterns that name how many elements.
_COUNTED = {f"vl{count}": count for count in (*range(1, 9), 16, 32, 64, 128, 256)}
_N, _Z, _C, _V = (PSTATE_BITS.field(name) for name in "NZCV")


def pattern_count(pattern: str, elements: int) -> int:
    """How many elements a pattern (``all``, ``pow2``, ``mul3``, ``mul4``, ``vl8``...) makes active; one too long: none.

    Raises ValueError for one that is none.
    """
    counts = {
        "all": elements,
        "pow2": 1 << elements.bit_length() - 1,
        "mul3": elements - elements % 3,
        "mul4": elements - elements % 4,
    }
    if pattern in _COUNTED:
        return _COUNTED[pattern] if _COUNTED[pattern] <= elements else 0
    if pattern not in counts:
        raise ValueError(f"no pattern {pattern}; there are {', '.join((*counts, *_COUNTED))}")
    return counts[pattern]


def active(count: int, element_bytes: int) -> int:
    """A predicate whose first elements are active."""
    return sum(1 << at * element_bytes for at in range(count))


def predicate(vcpu: Vcpu, name: str) -> int:
    """What ``p3`` or ``ffr`` holds at the vector length in force."""
    bits = instructions.vector_length_bytes(vcpu)
    return int.from_bytes(vcpu.sve.get(name, b""), "little") & (1 << bits) - 1


def index(vcpu: Vcpu, name: str, element: str, start: int, step: int) -> Outcome:
    """INDEX: elements that count from ``start`` in steps."""
    outcome = instructions.sve(vcpu)
    if outcome.accepted:
        size = ELEMENT_BYTES[element]
        values = (start + step * at & (1 << 8 * size) - 1 for at in range(outcome.value // size))
        vcpu.sve[name] = b"".join(value.to_bytes(size, "little") for value in values)
    return outcome._replace(value=0)


def ptrue(vcpu: Vcpu, name: str, element: str, pattern: str = "all") -> Outcome:
    """PTRUE; ``ffr`` and bytes are SETFFR."""
    outcome = instructions.sve(vcpu)
    if outcome.accepted:
        size = ELEMENT_BYTES[element]
        put(vcpu, name, active(pattern_count(pattern, outcome.value // size), size))
    return outcome._replace(value=0)


def whilelo(vcpu: Vcpu, name: str, element: str, first: int, limit: int) -> Outcome:
    """WHILELO: the elements from ``first`` that are below ``limit``, and NZCV by them."""
    outcome = instructions.sve(vcpu)
    if outcome.accepted:
        size = ELEMENT_BYTES[element]
        elements = outcome.value // size
        count = min(max(limit - first, 0), elements)
        put(vcpu, name, active(count, size))
        pstate = int.from_bytes(vcpu.values.get(PSTATE, b""), "little")
        for bit, value in ((_N, count > 0), (_Z, not count), (_C, count < elements), (_V, False)):
            pstate = bit.put(pstate, int(value))
        vcpu.values[PSTATE] = pstate.to_bytes(8, "little")
    return outcome._replace(value=0)


def eor(vcpu: Vcpu, name: str, governing: str, first: str, second: str) -> Outcome:
    """EOR of predicates, zero where the governing one is not active; NOT is that with the governing one."""
    outcome = instructions.sve(vcpu)
    if outcome.accepted:
        put(vcpu, name, predicate(vcpu, governing) & (predicate(vcpu, first) ^ predicate(vcpu, second)))
    return outcome._replace(value=0)


def wrffr(vcpu: Vcpu, source: str) -> Outcome:
    """WRFFR."""
    outcome = instructions.sve(vcpu)
    if outcome.accepted:
        put(vcpu, "ffr", predicate(vcpu, source))
    return outcome._replace(value=0)


def put(vcpu: Vcpu, name: str, bits: int) -> None:
    """A predicate's new value; what is beyond the vector length in force is zero."""
    vcpu.sve[name] = bits.to_bytes(instructions.vector_length_bytes(vcpu) // 8, "little")
