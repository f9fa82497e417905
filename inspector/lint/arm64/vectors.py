"""A02xx: SVE and SME."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.decode.arm64 import HEADER_SIZE_BYTES, MAX_VL_BYTES
from inspector.lint.arm64.features import is_list
from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.vocabulary import Bits

_Z, _P = [f"sve.z[{n}]" for n in range(32)], [f"sve.p[{n}]" for n in range(16)]
_V = [f"core.v[{n}]" for n in range(32)]
_VQ_BITS, _MOST_VQS = 128, 16
#: SVCR (Arm ARM, DDI 0487).
_SM, _ZA = Bits("SM", 0), Bits("ZA", 1)
_SVE = "id.ID_AA64PFR0_EL1.SVE"


def _held(state: State, paths: list[str]) -> list[str]:
    return [path for path in paths if state.field(path)] if state.has("arm64-regs") else []


def largest_vq(state: State) -> int:
    """The largest vector length in quadwords; 0 where no set was captured."""
    return (state.number("sve.vls") or 0).bit_length()


@check("A0201")
def no_lengths(state: State) -> Iterator[Hit]:
    """Z and P without the set."""
    held = _held(state, _Z + _P)
    if held and state.field("sve.vls") is None:
        yield Hit("sve.vls", f"{len(held)} SVE registers are in the list")


def _lengths(state: State) -> Iterator[int]:
    value = state.number("sve.vls")
    if value is not None and state.has("arm64-regs"):
        yield value


@check("A0202")
def empty(state: State) -> Iterator[Hit]:
    """A set with nothing in it."""
    return (Hit("sve.vls", "no bit is set") for value in _lengths(state) if not value)


@check("A0203")
def too_long(state: State) -> Iterator[Hit]:
    """Beyond 2048 bits."""
    return (Hit("sve.vls", f"bits {value:#x}") for value in _lengths(state) if value >> _MOST_VQS)


@check("A0204")
def power_of_two(state: State) -> Iterator[Hit]:
    """Lengths that have to be there."""
    for value in _lengths(state):
        missing = [vq for vq in (1, 2, 4, 8, 16) if vq < value.bit_length() and not value >> (vq - 1) & 1]
        if missing:
            lengths = ", ".join(str(_VQ_BITS * vq) for vq in missing)
            yield Hit("sve.vls", f"{lengths} bits are not in it, {_VQ_BITS * value.bit_length()} are")


@check("A0205")
def beyond_largest(state: State) -> Iterator[Hit]:
    """Z against the set."""
    width = _VQ_BITS * largest_vq(state)
    for path in _held(state, _Z) if width else ():
        if (state.number(path) or 0) >> width:
            yield Hit(path, f"bits above {width} are set")


@check("A0206")
def incomplete(state: State) -> Iterator[Hit]:
    """Z, P and FFR."""
    registers = [*_Z, *_P, "sve.ffr"]
    held = _held(state, registers)
    missing = [path for path in registers if path not in held]
    if held and missing:
        yield Hit(missing[0], f"{len(missing)} of {len(registers)} are missing: {', '.join(missing[:4])}")


@check("A0207")
def both(state: State) -> Iterator[Hit]:
    """V beside Z."""
    held = _held(state, _V)
    if held and _held(state, [*_Z, "sve.vls"]):
        yield Hit(held[0], f"{len(held)} V registers beside SVE")


@check("A0208")
def slices(state: State) -> Iterator[Hit]:
    """Slices from 1 up."""
    for table in state.tables if state.has("arm64-regs") else ():
        for spec in table.specs:
            if spec.path.startswith("sve.") and ".slice[" in spec.path:
                yield Hit(spec.path, spec.title)
                return


@check("A0209")
def not_shown(state: State) -> Iterator[Hit]:
    """SVE's registers against ID_AA64PFR0_EL1."""
    held = _held(state, [*_Z, "sve.vls"])
    if held and state.number(_SVE) == 0:
        yield Hit(held[0], "ID_AA64PFR0_EL1.SVE is 0")


@check("A0210")
def shown_but_missing(state: State) -> Iterator[Hit]:
    """ID_AA64PFR0_EL1 against SVE's registers."""
    if is_list(state) and state.number(_SVE) and not _held(state, _Z):
        yield Hit("sve.z[0]", "ID_AA64PFR0_EL1.SVE is 1")


@check("A0211")
def no_length(state: State) -> Iterator[Hit]:
    """Lengths of notes."""
    for prefix in (area.prefix for area in state.areas("arm64-sve", "arm64-za")):
        values = state.numbers(f"{prefix}.vl_bytes", f"{prefix}.max_vl_bytes")
        if values is None:
            continue
        length, largest = values
        if not 16 <= length <= MAX_VL_BYTES or length % 16 or (largest and length > largest):
            yield Hit(f"{prefix}.vl_bytes", f"{length} bytes, at most {largest}")


def _has_payload(state: State, prefix: str) -> bool | None:
    size = state.number(f"{prefix}.size")
    return None if size is None else size > HEADER_SIZE_BYTES


@check("A0212")
def streaming(state: State) -> Iterator[Hit]:
    """SVCR.SM against the streaming note."""
    svcr, payload = state.number("svcr"), _has_payload(state, "ssve")
    if svcr is not None and payload is not None and _SM.get(svcr) != payload:
        yield Hit("ssve.size", f"SVCR is {svcr:#x}, the streaming note has {'registers' if payload else 'none'}")


@check("A0213")
def array(state: State) -> Iterator[Hit]:
    """SVCR.ZA against the note."""
    svcr, payload = state.number("svcr"), _has_payload(state, "za")
    if svcr is not None and payload is not None and _ZA.get(svcr) != payload:
        yield Hit("za.size", f"SVCR is {svcr:#x}, the ZA note has {'the array' if payload else 'only its header'}")


@check("A0214")
def lookup_table(state: State) -> Iterator[Hit]:
    """ZT0 against ZA."""
    on = _has_payload(state, "za")
    svcr = state.number("svcr")
    if state.number("zt0") and (on is False or (on is None and svcr is not None and not _ZA.get(svcr))):
        yield Hit("zt0", "ZT0 is not zero, ZA is off")


@check("A0215")
def streaming_lengths(state: State) -> Iterator[Hit]:
    """ZA's length against the streaming note's."""
    values = state.numbers("ssve.vl_bytes", "za.vl_bytes")
    if values is not None and values[0] != values[1] and state.has("arm64-za"):
        yield Hit("za.vl_bytes", f"{values[1]} bytes, streaming registers have {values[0]}")


@check("A0216")
def chosen_length(state: State) -> Iterator[Hit]:
    """ZCR_EL1.LEN against the set."""
    chosen, largest = state.bit("sysreg.ZCR_EL1.LEN"), largest_vq(state)
    if chosen is not None and largest and chosen + 1 > largest:
        yield Hit("sysreg.ZCR_EL1", f"{chosen + 1} quadwords, the largest is {largest}")


@check("A0217")
def first_fault_alone(state: State) -> Iterator[Hit]:
    """FFR without P."""
    if state.has("arm64-regs") and state.number("sve.ffr") and not _held(state, _P):
        yield Hit("sve.ffr", "no P register is in the list")
