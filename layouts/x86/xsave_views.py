"""What is made of several state components, or has a bit for each: whole registers, XSTATE_BV and its like."""

from __future__ import annotations

from layouts.vocabulary import Piece, Register, View, flag
from layouts.x86.xsave import AVX, COMPONENTS, FXSAVE_REGISTERS, LEGACY_AT, LWP, SSE, X87

_SDM = "Intel SDM vol. 1"

#: Array members whose first element is not number 0: ``(component name, member) -> first``.
FIRST_INDEX = {("hi16_zmm", "zmm"): 16, ("apx", "r"): 16}

#: Whole registers. Their paths have no component name: ``xsave.zmm[17]``.
VIEWS = (
    View("st", "x87 stack register", range(8), (Piece(X87, LEGACY_AT["st"].offset, 10, 16),)),
    View("xmm", "SSE register", range(16), (Piece(SSE, LEGACY_AT["xmm"].offset, 16, 16),)),
    View(
        "ymm",
        "AVX register",
        range(16),
        (Piece(SSE, LEGACY_AT["xmm"].offset, 16, 16), Piece(AVX, 0, 16, 16)),
    ),
    View(
        "zmm",
        "AVX-512 register",
        range(16),
        (Piece(SSE, LEGACY_AT["xmm"].offset, 16, 16), Piece(AVX, 0, 16, 16), Piece(6, 0, 32, 32)),
    ),
    View("zmm", "AVX-512 register", range(16, 32), (Piece(7, 0, 64, 64),)),
)

XSTATE_BITMAP = Register(
    "xstate bitmap",
    "one bit a state component",
    tuple(flag(component.name, component.number, component.title) for component in COMPONENTS),
    f"{_SDM}, 13.1",
)

#: LWP was gone before there was a compacted format.
XCOMP_BITMAP = Register(
    "XCOMP_BV",
    "compacted format and the components that have room",
    (*(bits for bits in XSTATE_BITMAP.bits if bits.lsb != LWP), flag("compacted", 63, "compacted format")),
    f"{_SDM}, 13.4.2",
)

HEADER_REGISTERS = {"xstate_bv": XSTATE_BITMAP, "xcomp_bv": XCOMP_BITMAP}
LEGACY_REGISTERS = {**FXSAVE_REGISTERS, "sw_xcr0": XSTATE_BITMAP}
