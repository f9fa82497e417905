"""The head of an XSAVE image, read and written: MXCSR, XSTATE_BV, XCOMP_BV and what must be zero.

Where each lies is in the declarations of :mod:`layouts.x86.xsave`. An image that ends before a member has 0 there.
"""

from __future__ import annotations

from layouts.members import Readable
from layouts.x86.xsave import HEADER_AT, LEGACY_AT, XCOMP_COMPACTED

_MXCSR, _MXCSR_MASK = LEGACY_AT["mxcsr"], LEGACY_AT["mxcsr_mask"]
_SW_XCR0 = LEGACY_AT["sw_xcr0"]
_XSTATE_BV, _XCOMP_BV, _RESERVED = HEADER_AT["xstate_bv"], HEADER_AT["xcomp_bv"], HEADER_AT["reserved"]

#: Every look at an image begins here.
_BV, _BV_END = _XSTATE_BV.slice, _XSTATE_BV.end
_XCOMP, _XCOMP_END = _XCOMP_BV.slice, _XCOMP_BV.end


def mxcsr(image: Readable) -> int:
    """MXCSR."""
    return _MXCSR.get(image)


def mxcsr_mask(image: bytes) -> bytes:
    """MXCSR_MASK, as its four bytes."""
    return image[_MXCSR_MASK.slice]


def with_mxcsr_mask(image: bytes, mask: bytes) -> bytes:
    """The image with another MXCSR_MASK."""
    return image[: _MXCSR_MASK.offset] + mask + image[_MXCSR_MASK.end :]


def sw_xcr0(image: Readable) -> int:
    """The XCR0 mask that Linux notes in the software area; 0 where none is."""
    return _SW_XCR0.get(image) if len(image) >= _SW_XCR0.end else 0


def held_xstate_bv(image: Readable) -> int | None:
    """XSTATE_BV; None where the image ends before it."""
    return int.from_bytes(image[_BV], "little") if len(image) >= _BV_END else None


def xstate_bv(image: Readable) -> int:
    """XSTATE_BV."""
    return held_xstate_bv(image) or 0


def with_xstate_bv(image: bytes, bv: int) -> bytes:
    """The image with another XSTATE_BV."""
    return _XSTATE_BV.put(image, bv)


def xcomp_bv(image: Readable) -> int:
    """XCOMP_BV."""
    return int.from_bytes(image[_XCOMP], "little") if len(image) >= _XCOMP_END else 0


def is_compacted(image: Readable) -> bool:
    """XCOMP_BV says that the image is in the compacted format."""
    return bool(xcomp_bv(image) & XCOMP_COMPACTED)


def reserved(image: Readable) -> bytes:
    """The reserved bytes of the header."""
    return bytes(image[_RESERVED.slice])


def with_xcomp_bv(image: bytes, xcomp: int, *, clear: bool) -> bytes:
    """The image with another XCOMP_BV; ``clear``: the rest of the header becomes 0."""
    image = _XCOMP_BV.put(image, xcomp)
    return _RESERVED.put(image, 0) if clear else image
