from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.decode.values import BY_NAME, element_text, elements, flags_text, x87_text
from layouts.x86 import registers as reg


@given(st.binary(min_size=64, max_size=64))
def test_elements_are_the_bytes(data: bytes) -> None:
    for name in ("u8", "u16", "u32", "u64", "x8", "x64"):
        element = BY_NAME[name]
        again = b"".join(int(v).to_bytes(element.width_bytes, "little") for v in elements(data, element))
        assert again == data


@given(st.floats(width=32, allow_nan=False))
def test_float_text_reads_back(number: float) -> None:
    data = struct.pack("<f", number)
    (value,) = elements(data, BY_NAME["f32"])
    assert struct.pack("<f", float(element_text(value, BY_NAME["f32"]))) == data


@pytest.mark.parametrize(("raw", "value"), [(0x3F80, 1.0), (0xBF00, -0.5), (0x7F80, math.inf)])
def test_bf16(raw: int, value: float) -> None:
    assert elements(raw.to_bytes(2, "little"), BY_NAME["bf16"]) == [value]


@pytest.mark.parametrize(
    ("sign_exponent", "mantissa", "text"),
    [
        (0x3FFF, 1 << 63, "1"),
        (0xBFFF, 3 << 62, "-1.5"),
        (0x4000, 0xC90FDAA22168C235, "3.1415926535897931"),
        (0x7FFF, 1 << 63, "inf"),
        (0xFFFF, 1 << 63, "-inf"),
        (0x7FFF, 3 << 62, "nan"),
        (0, 0, "0"),
        (0x8000, 0, "-0"),
        (0x3FFF, 1, "unsupported (integer bit clear)"),
        (0x7FFE, (1 << 64) - 1, f"{(1 << 64) - 1}*2^16320"),
    ],
)
def test_x87(sign_exponent: int, mantissa: int, text: str) -> None:
    assert x87_text(mantissa.to_bytes(8, "little") + sign_exponent.to_bytes(2, "little")) == text


@given(st.integers(-1000, 1000), st.integers(1 << 63, (1 << 64) - 1))
def test_x87_agrees_with_exact_arithmetic(power: int, mantissa: int) -> None:
    raw = mantissa.to_bytes(8, "little") + (16383 + power).to_bytes(2, "little")
    exact = Fraction(mantissa, 1 << 63) * Fraction(2) ** power
    assert abs(Fraction(float(x87_text(raw))) - exact) <= exact / (1 << 51)


def test_flags() -> None:
    assert flags_text(0x1F80, reg.MXCSR) == "IM DM ZM OM UM PM RC=nearest even"
    assert flags_text(0x037F, reg.FCW) == "IM DM ZM OM UM PM R6 PC=64-bit RC=nearest even"
    assert flags_text(0, reg.EFER) == "no bit set"
    assert flags_text(1 << 63, reg.EFER) == "reserved 0x8000000000000000"
