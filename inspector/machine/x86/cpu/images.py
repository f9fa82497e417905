"""XSAVE images as bytes: what the XSAVE instructions write and read, in either format.

Source: Intel SDM vol. 1, 13.4 and 13.7 to 13.12. Where a component lies is given by places
(:mod:`inspector.decode.placement`); all numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspector.decode.placement import Place
from inspector.machine.x86.cpu.registers import (
    INITIAL_MXCSR,
    INITIAL_X87,
    LEGACY,
    MXCSR_MASK,
    MXCSR_OFFSET,
    PKRU,
    PKRU_SIZE_BYTES,
    SSE,
    Registers,
)
from layouts.x86.xsave import EXTENDED_OFFSET, HEADER_OFFSET, XCOMP_COMPACTED

_HEADER_END = EXTENDED_OFFSET
_MXCSR_MASK = MXCSR_MASK.to_bytes(4, "little")
#: FCW and MXCSR of an image that has neither x87 nor SSE state.
_USER_HEAD = INITIAL_X87[:MXCSR_OFFSET] + INITIAL_MXCSR.to_bytes(4, "little") + _MXCSR_MASK
_MXCSR = slice(MXCSR_OFFSET, MXCSR_OFFSET + 4)
SW_OFFSET = 464


def xstate_bv(image: bytes | bytearray) -> int:
    """XSTATE_BV."""
    return int.from_bytes(image[HEADER_OFFSET : HEADER_OFFSET + 8], "little")


def xcomp_bv(image: bytes) -> int:
    """XCOMP_BV."""
    return int.from_bytes(image[HEADER_OFFSET + 8 : HEADER_OFFSET + 16], "little")


def reserved(image: bytes) -> bytes:
    """The reserved bytes of the header."""
    return image[HEADER_OFFSET + 16 : _HEADER_END]


def mxcsr(image: bytes) -> int:
    """MXCSR."""
    return int.from_bytes(image[_MXCSR], "little")


def mxcsr_mask(image: bytes) -> bytes:
    """MXCSR_MASK, as its four bytes."""
    return image[_MXCSR.stop : _MXCSR.stop + 4]


def with_mxcsr_mask(image: bytes, mask: bytes) -> bytes:
    """The image with another MXCSR_MASK."""
    return image[: _MXCSR.stop] + mask + image[_MXCSR.stop + 4 :]


def with_xstate_bv(image: bytes, bv: int) -> bytes:
    """The image with another XSTATE_BV."""
    return image[:HEADER_OFFSET] + bv.to_bytes(8, "little") + image[HEADER_OFFSET + 8 :]


def with_xcomp_bv(image: bytes, xcomp: int, *, clear: bool) -> bytes:
    """The image with another XCOMP_BV; ``clear``: the rest of the header becomes 0."""
    rest = bytes(_HEADER_END - HEADER_OFFSET - 16) if clear else reserved(image)
    return image[: HEADER_OFFSET + 8] + xcomp.to_bytes(8, "little") + rest + image[_HEADER_END:]


def empty(size_bytes: int, xcomp: int) -> bytes:
    """A new image: nothing in it, everything initial."""
    head = bytes(HEADER_OFFSET + 8) + xcomp.to_bytes(8, "little")
    return head.ljust(max(size_bytes, EXTENDED_OFFSET), b"\0")


def with_defaults(image: bytes) -> bytes:
    """The image with FCW and MXCSR as at reset."""
    return _USER_HEAD[:MXCSR_OFFSET] + INITIAL_MXCSR.to_bytes(4, "little") + image[MXCSR_OFFSET + 4 :]


def store(
    image: bytes, registers: Registers, mask: int, bv: int, places: Sequence[Place], *, with_mxcsr: int | None = None
) -> bytes:
    """The image with the components of ``mask`` written; XSTATE_BV becomes ``bv``.

    Everything else keeps its bytes, so what an earlier save left there stays as stale bytes. ``with_mxcsr``:
    MXCSR and its mask are written; where it is not said, a compacted image has them with SSE, a standard one
    with SSE or AVX.
    """
    found = bytearray(image)
    found[HEADER_OFFSET : HEADER_OFFSET + 8] = bv.to_bytes(8, "little")
    if with_mxcsr is None:
        with_mxcsr = mask & (2 if xcomp_bv(image) & XCOMP_COMPACTED else 6)
    _write(found, registers, mask, places, with_mxcsr)
    return bytes(found)


def _write(image: bytearray, registers: Registers, mask: int, places: Sequence[Place], with_mxcsr: int) -> None:
    if mask & 1:
        x87 = registers.get(0)
        image[:MXCSR_OFFSET] = x87[:MXCSR_OFFSET]
        image[32:160] = x87[32:160]
    if mask & 2:
        offset, size = LEGACY[SSE]
        image[offset : offset + size] = registers.get(SSE)
    if with_mxcsr:
        image[MXCSR_OFFSET : MXCSR_OFFSET + 8] = registers.mxcsr.to_bytes(4, "little") + _MXCSR_MASK
    for component, offset, size in places:
        if mask >> component & 1:
            data = registers.get(component)
            if component == PKRU:
                # Processors write the register, not the four bytes behind it.
                size = PKRU_SIZE_BYTES
            image[offset : offset + size] = data if len(data) == size else data[:size].ljust(size, b"\0")


def load(image: bytes, bv: int, places: Sequence[Place], kind: type[Registers] = Registers) -> Registers:
    """The registers of the components in ``bv``; the others are initial. MXCSR goes with SSE or AVX."""
    found: dict[int, bytes] = {}
    if bv & 1:
        found[0] = image[:MXCSR_OFFSET] + bytes(8) + image[32:160]
    if bv & 2:
        offset, size = LEGACY[SSE]
        found[SSE] = image[offset : offset + size]
    for place in places:
        if bv >> place.component & 1:
            raw = image[place.offset : place.offset + place.size_bytes]
            found[place.component] = raw.ljust(place.size_bytes, b"\0")
    return kind(found, mxcsr(image) if bv & 6 else INITIAL_MXCSR)


def user_image(registers: Registers, bv: int, places: Sequence[Place], size_bytes: int, sw_xcr0: int) -> bytes:
    """A standard image as the kernel gives it to user space: what ``bv`` lacks is initial.

    Source: __copy_xstate_to_uabi_buf (fpu/xstate.c); ``sw_xcr0`` goes to the software area.
    """
    image = bytearray(size_bytes)
    image[: len(_USER_HEAD)] = _USER_HEAD
    image[SW_OFFSET : SW_OFFSET + 8] = sw_xcr0.to_bytes(8, "little")
    image[HEADER_OFFSET : HEADER_OFFSET + 8] = bv.to_bytes(8, "little")
    _write(image, registers, bv, places, bv & 6)
    return bytes(image)


def compacted_xcomp(mask: int) -> int:
    """XCOMP_BV of a compacted image with these components."""
    return XCOMP_COMPACTED | mask
