"""XSAVE images as bytes: what the XSAVE instructions write and read, in either format.

Source: Intel SDM vol. 1, 13.4 and 13.7 to 13.12. Where a component lies is given by places
(:mod:`inspector.decode.placement`); all numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspector.decode.header import (
    mxcsr,
    mxcsr_mask,
    reserved,
    with_mxcsr_mask,
    with_xcomp_bv,
    with_xstate_bv,
    xcomp_bv,
    xstate_bv,
)
from inspector.decode.placement import Place
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, INITIAL_X87, MXCSR_MASK, PKRU_SIZE_BYTES, Registers
from layouts.x86.xsave import EXTENDED_OFFSET, HEADER_AT, LEGACY_AT, LEGACY_COMPONENTS, PKRU, SSE, XCOMP_COMPACTED

__all__ = [
    "compacted_xcomp",
    "empty",
    "load",
    "mxcsr",
    "mxcsr_mask",
    "reserved",
    "store",
    "user_image",
    "with_defaults",
    "with_mxcsr_mask",
    "with_mxcsr_of",
    "with_xcomp_bv",
    "with_xstate_bv",
    "x87_of",
    "xcomp_bv",
    "xstate_bv",
]

_MXCSR_MASK = MXCSR_MASK.to_bytes(4, "little")
_MXCSR, _ST = LEGACY_AT["mxcsr"], LEGACY_AT["st"].slice
#: MXCSR and its mask.
_MXCSRS = slice(_MXCSR.offset, LEGACY_AT["mxcsr_mask"].end)
#: FCW and MXCSR of an image that has neither x87 nor SSE state.
_USER_HEAD = INITIAL_X87[: _MXCSR.offset] + INITIAL_MXCSR.to_bytes(4, "little") + _MXCSR_MASK


def empty(size_bytes: int, xcomp: int) -> bytes:
    """A new image: nothing in it, everything initial."""
    return with_xcomp_bv(bytes(max(size_bytes, EXTENDED_OFFSET)), xcomp, clear=False)


def with_defaults(image: bytes) -> bytes:
    """The image with FCW and MXCSR as at reset."""
    return _MXCSR.put(_USER_HEAD[: _MXCSR.offset] + image[_MXCSR.offset :], INITIAL_MXCSR)


def store(
    image: bytes, registers: Registers, mask: int, bv: int, places: Sequence[Place], *, with_mxcsr: int | None = None
) -> bytes:
    """The image with the components of ``mask`` written; XSTATE_BV becomes ``bv``.

    Everything else keeps its bytes, so what an earlier save left there stays as stale bytes. ``with_mxcsr``:
    MXCSR and its mask are written; where it is not said, a compacted image has them with SSE, a standard one
    with SSE or AVX.
    """
    found = bytearray(image)
    HEADER_AT["xstate_bv"].store(found, bv)
    if with_mxcsr is None:
        with_mxcsr = mask & (2 if xcomp_bv(image) & XCOMP_COMPACTED else 6)
    _write(found, registers, mask, places, with_mxcsr)
    return bytes(found)


def _write(image: bytearray, registers: Registers, mask: int, places: Sequence[Place], with_mxcsr: int) -> None:
    if mask & 1:
        x87 = registers.get(0)
        image[: _MXCSR.offset] = x87[: _MXCSR.offset]
        image[_ST] = x87[_ST]
    if mask & 2:
        image[LEGACY_COMPONENTS[SSE].slice] = registers.get(SSE)
    if with_mxcsr:
        image[_MXCSRS] = registers.mxcsr.to_bytes(4, "little") + _MXCSR_MASK
    for component, offset, size in places:
        if mask >> component & 1:
            data = registers.get(component)
            if component == PKRU:
                # Processors write the register, not the four bytes behind it.
                size = PKRU_SIZE_BYTES
            image[offset : offset + size] = data if len(data) == size else data[:size].ljust(size, b"\0")


def with_mxcsr_of(image: bytes, other: bytes) -> bytes:
    """The image with MXCSR and its mask of another one."""
    return image[: _MXCSRS.start] + other[_MXCSRS] + image[_MXCSRS.stop :]


def x87_of(image: bytes) -> bytes:
    """The x87 component of an image: what is SSE's in it, MXCSR and its mask, is zero."""
    return image[: _MXCSRS.start] + bytes(_MXCSRS.stop - _MXCSRS.start) + image[_ST]


def load(image: bytes, bv: int, places: Sequence[Place], kind: type[Registers] = Registers) -> Registers:
    """The registers of the components in ``bv``; the others are initial. MXCSR goes with SSE or AVX."""
    found: dict[int, bytes] = {}
    if bv & 1:
        found[0] = x87_of(image)
    if bv & 2:
        found[SSE] = image[LEGACY_COMPONENTS[SSE].slice]
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
    LEGACY_AT["sw_xcr0"].store(image, sw_xcr0)
    HEADER_AT["xstate_bv"].store(image, bv)
    _write(image, registers, bv, places, bv & 6)
    return bytes(image)


def compacted_xcomp(mask: int) -> int:
    """XCOMP_BV of a compacted image with these components."""
    return XCOMP_COMPACTED | mask
