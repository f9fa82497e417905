"""Walk a declaration to a flat list of leaves, without parsing anything.

This is what makes a declaration the only place where an offset is written: decoding,
editing and the hex pane all use the leaves that come out here.
"""

from __future__ import annotations

from layouts.declare import Array, Bytes, Declaration, Integer, Named, Padded, Struct
from layouts.light import NamedTuple


class Leaf(NamedTuple):
    """A member with a value: dotted name with indices, where it lies, how to read it."""

    name: str
    offset: int
    size_bytes: int
    kind: str
    doc: str

    @property
    def plain_name(self) -> str:
        """The name without array indices, as layouts refer to it."""
        if "[" not in self.name:
            return self.name
        return "".join(part.split("]", 1)[-1] for part in ("]" + self.name).split("["))


def walk(declaration: Declaration) -> list[Leaf]:
    """All leaves of a fixed-size declaration, in the order of their offsets.

    Raises TypeError for what is no word of :mod:`layouts.declare`.
    """
    leaves: list[Leaf] = []
    _walk(declaration, "", 0, "", leaves)
    return leaves


def _walk(node: Declaration, name: str, offset: int, doc: str, out: list[Leaf]) -> int:
    """Append the leaves of ``node`` and return the offset behind it."""
    if isinstance(node, Named):
        return _walk(node.subcon, f"{name}.{node.name}" if name else node.name, offset, node.docs or doc, out)
    if isinstance(node, Struct):
        for member in node.subcons:
            offset = _walk(member, name, offset, doc, out)
        return offset
    if isinstance(node, Array):
        for index in range(node.count):
            offset = _walk(node.subcon, f"{name}[{index}]", offset, doc, out)
        return offset
    if isinstance(node, Padded):
        end = _walk(node.subcon, name, offset, doc, out)
        behind = offset + node.length
        if behind > end:
            out.append(Leaf(f"{name}.reserved", end, behind - end, "reserved", "not used"))
        return behind
    if not isinstance(node, (Integer, Bytes)):
        raise TypeError(f"layouts do not use {type(node).__name__} ({name})")
    size = node.sizeof()
    out.append(Leaf(name, offset, size, _kind(node, name, size), doc))
    return offset + size


def _kind(node: Integer | Bytes, name: str, size: int) -> str:
    """How a leaf is read; its name tells padding, its size x87 registers and tiles."""
    last = name.rpartition(".")[2]
    if last.startswith(("reserved", "pad")):
        return "reserved"
    if isinstance(node, Integer):
        return "int" if node.is_signed else "uint"
    return {10: "x87", 16: "vector", 32: "vector", 64: "vector", 1024: "tile"}.get(size, "bytes")
