"""Values as people read them: by element, as floating point, as flags by name."""

from __future__ import annotations

import struct

from layouts.light import NamedTuple
from layouts.vocabulary import Register


class Element(NamedTuple):
    """How the bytes of a vector are cut and read. ``code`` is a struct code, or ``bf16``."""

    name: str
    width_bytes: int
    code: str


ELEMENTS = (
    Element("x8", 1, "B"),
    Element("x16", 2, "H"),
    Element("x32", 4, "I"),
    Element("x64", 8, "Q"),
    Element("x128", 16, "128"),
    Element("u8", 1, "B"),
    Element("i8", 1, "b"),
    Element("u16", 2, "H"),
    Element("i16", 2, "h"),
    Element("u32", 4, "I"),
    Element("i32", 4, "i"),
    Element("u64", 8, "Q"),
    Element("i64", 8, "q"),
    Element("f16", 2, "e"),
    Element("bf16", 2, "bf16"),
    Element("f32", 4, "f"),
    Element("f64", 8, "d"),
)

BY_NAME = {element.name: element for element in ELEMENTS}


def elements(data: bytes, element: Element) -> list[int | float]:
    """The elements of little-endian ``data``, element 0 first; a shorter rest is left out."""
    count = len(data) // element.width_bytes
    used = data[: count * element.width_bytes]
    if element.code == "128":
        return [int.from_bytes(used[at : at + 16], "little") for at in range(0, 16 * count, 16)]
    if element.code == "bf16":
        # bfloat16 is the upper half of a float32.
        return [struct.unpack("<f", b"\0\0" + used[at : at + 2])[0] for at in range(0, 2 * count, 2)]
    return list(struct.unpack(f"<{count}{element.code}", used))


def element_text(value: float, element: Element) -> str:
    """One element as text; ``x`` elements in hex without prefix."""
    if element.name.startswith("x"):
        return f"{int(value):0{2 * element.width_bytes}x}"
    if isinstance(value, float):
        return float_text(value, {2: 5, 4: 9, 8: 17}[element.width_bytes])
    return str(value)


def float_text(value: float, digits: int) -> str:
    """A float with as many digits as its format carries, without trailing noise."""
    return f"{value:.{digits}g}"


def x87_text(data: bytes) -> str:
    """An 80-bit extended-precision number (Intel SDM vol. 1, 4.2.2), little-endian, as decimal."""
    mantissa = int.from_bytes(data[:8], "little")
    sign_exponent = int.from_bytes(data[8:10], "little")
    sign = "-" if sign_exponent & 0x8000 else ""
    exponent = sign_exponent & 0x7FFF
    if exponent == 0x7FFF:
        if mantissa == 1 << 63:
            return f"{sign}inf"
        return f"{sign}nan" if mantissa >> 63 else f"{sign}unsupported"
    if mantissa == 0:
        return f"{sign}0"
    if exponent and not mantissa >> 63:
        return f"{sign}unsupported (integer bit clear)"
    import math

    power = (exponent or 1) - 16383 - 63
    try:
        return sign + float_text(math.ldexp(mantissa, power), 17)
    except OverflowError:
        return f"{sign}{mantissa}*2^{power}"


def flags_text(value: int, register: Register) -> str:
    """The set bits by name, ranges as NAME=value, reserved bits that are set last."""
    words = []
    for bits in register.bits:
        field = value >> bits.lsb & ((1 << bits.width) - 1)
        if bits.width == 1:
            if field:
                words.append(bits.name)
        elif field or bits.values:
            words.append(f"{bits.name}={bits.values.get(field, f'{field:#x}')}")
    unknown = value & ~register.known_mask
    if unknown:
        words.append(f"reserved {unknown:#x}")
    return " ".join(words) or "no bit set"


def words_text(data: bytes) -> str:
    """A vector as 64-bit words, low first; one word if all are the same."""
    if not any(data):
        return "0"
    words = [f"{word:#x}" for word in elements(data, BY_NAME["u64"])]
    if len(words) > 1 and len(set(words)) == 1:
        return f"{words[0]} x {len(words)}"
    return " ".join(words)


def short_hex(value: int, bits: int, limit: int = 36) -> str:
    """A value in hex, the middle left out when it is long."""
    digits = f"{value:0{max(1, bits // 4)}x}" if bits >= 32 else f"{value:x}"
    if len(digits) <= limit - 2:
        return f"0x{digits}"
    half = (limit - 3) // 2
    return f"0x{digits[:half]}…{digits[-half:]}"
