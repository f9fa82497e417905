"""What of a field differs: its bits, its elements, its rows, its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inspector.decode.fields import Field


class Part(NamedTuple):
    """A piece of a field that differs: its name, the first bit and width in bits, its value on each side."""

    name: str
    lsb: int
    width: int
    values: tuple[int, ...]

    def texts(self, fields: Sequence[Field]) -> tuple[str, ...]:
        """The values as people read them: by name where the field's register has names."""
        register = fields[0].spec.register
        bits = next((one for one in register.bits if one.lsb == self.lsb), None) if register else None
        named = bits.values if bits is not None and bits.width == self.width else {}
        return tuple(named.get(value, f"{value:#x}") for value in self.values)


def parts(fields: Sequence[Field]) -> list[Part]:
    """The parts in which fields differ, the lowest first; none when one has no value or another width."""
    if any(field.value is None for field in fields) or len({field.bits for field in fields}) != 1:
        return []
    values = [field.value or 0 for field in fields]
    spec = fields[0].spec
    if spec.bit is not None:
        return []
    if spec.register is not None:
        return _bits(values, fields[0])
    if spec.bits <= 64:
        return []
    if spec.kind == "tile":
        return _pieces(values, spec.bits, 512, "row[{}]")
    if spec.kind == "vector":
        return _pieces(values, spec.bits, 64, "u64[{}]")
    return _pieces(values, spec.bits, 8, "byte[{}]")


def _bits(values: Sequence[int], field: Field) -> list[Part]:
    register = field.spec.register
    assert register is not None
    found = []
    for bits in register.bits:
        inside = tuple(value >> bits.lsb & ((1 << bits.width) - 1) for value in values)
        if len(set(inside)) > 1:
            found.append(Part(bits.name, bits.lsb, bits.width, inside))
    rest = ~register.known_mask & ((1 << field.bits) - 1)
    differing = 0
    for value in values:
        differing |= (value ^ values[0]) & rest
    for bit in range(differing.bit_length()):
        if differing >> bit & 1:
            found.append(Part(f"bit {bit}", bit, 1, tuple(value >> bit & 1 for value in values)))  # noqa: PERF401
    return sorted(found, key=lambda part: part.lsb)


def _pieces(values: Sequence[int], bits: int, width: int, name: str) -> list[Part]:
    differing = 0
    for value in values[1:]:
        differing |= value ^ values[0]
    mask = (1 << width) - 1
    found = []
    for number in range(-(-bits // width)):
        if differing >> width * number & mask:
            inside = tuple(value >> width * number & mask for value in values)
            found.append(Part(name.format(number), width * number, width, inside))
    return found
