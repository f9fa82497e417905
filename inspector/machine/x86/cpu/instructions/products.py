"""What tile products compute: dot products of bytes or of BF16 pairs (Intel SDM vol. 2, TDP*)."""

from __future__ import annotations

import math
import struct

_ROW_BYTES, _ROWS = 64, 16
#: Element types of src1 and src2 by instruction; ``bf16`` goes with itself.
ELEMENTS = {
    "tdpbssd": ("b", "b"),
    "tdpbsud": ("b", "B"),
    "tdpbusd": ("B", "b"),
    "tdpbuud": ("B", "B"),
    "tdpbf16ps": ("bf16", "bf16"),
}


def product(name: str, shape: tuple[int, int, int], target: bytes, left: bytes, right: bytes) -> bytes:
    """The destination tile: ``shape`` is its rows and columns of 4 bytes, and the rows of src2."""
    rows, columns, inner = shape
    found = bytearray(_ROW_BYTES * _ROWS)
    one, two = ELEMENTS[name]
    for row in range(rows):
        for column in range(columns):
            at = _ROW_BYTES * row + 4 * column
            pairs = [
                (left[_ROW_BYTES * row + 4 * k :][:4], right[_ROW_BYTES * k + 4 * column :][:4]) for k in range(inner)
            ]
            before = target[at : at + 4]
            found[at : at + 4] = _floats(before, pairs) if one == "bf16" else _integers(before, pairs, one, two)
    return bytes(found)


def _integers(before: bytes, pairs: list[tuple[bytes, bytes]], one: str, two: str) -> bytes:
    total = int.from_bytes(before, "little")
    for a, b in pairs:
        total += sum(x * y for x, y in zip(struct.unpack(f"<4{one}", a), struct.unpack(f"<4{two}", b), strict=True))
    return (total & 0xFFFFFFFF).to_bytes(4, "little")


def _floats(before: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    """BF16 pairs: sums of the even and of the odd elements, each rounded, denormals zero, added at the end."""
    even = odd = 0.0
    for a, b in pairs:
        even = _fused(_bf16(a[:2]), _bf16(b[:2]), even)
        odd = _fused(_bf16(a[2:]), _bf16(b[2:]), odd)
    return struct.pack("<f", _flushed(_single(_flushed(struct.unpack("<f", before)[0]) + _single(even + odd))))


def _bf16(data: bytes) -> float:
    return _flushed(float(struct.unpack("<f", b"\0\0" + data)[0]))


def _fused(a: float, b: float, c: float) -> float:
    return _flushed(_single(a * b + c))


def _single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _flushed(value: float) -> float:
    return 0.0 * value if abs(value) < 2.0**-126 else value
