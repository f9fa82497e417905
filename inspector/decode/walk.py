"""Walk a construct declaration to a flat list of leaves, without parsing anything.

This is what makes a declaration the only place where an offset is written: decoding,
editing and the hex pane all use the leaves that come out here.
"""

from __future__ import annotations

from typing import NamedTuple

import construct

from layouts.vocabulary import Construct


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


def walk(declaration: Construct) -> list[Leaf]:
    """All leaves of a fixed-size declaration, in the order of their offsets.

    Understands Struct, Array, Padded, Bytes and the integer fields. Raises TypeError for
    any other construct: layouts keep to these.
    """
    leaves: list[Leaf] = []
    _walk(declaration, "", 0, "", leaves)
    return leaves


def _walk(node: Construct, name: str, offset: int, doc: str, out: list[Leaf]) -> int:
    """Append the leaves of ``node`` and return the offset behind it."""
    if isinstance(node, construct.Renamed):
        doc = str(node.docs or doc)
        if isinstance(node.subcon, construct.Renamed):
            return _walk(node.subcon, name, offset, doc, out)
        return _walk(node.subcon, f"{name}.{node.name}" if name else str(node.name), offset, doc, out)
    if isinstance(node, construct.Struct):
        for member in node.subcons:
            offset = _walk(member, name, offset, doc, out)
        return offset
    if isinstance(node, construct.Array):
        for index in range(node.count):
            offset = _walk(node.subcon, f"{name}[{index}]", offset, doc, out)
        return offset
    if isinstance(node, construct.Padded):
        end = _walk(node.subcon, name, offset, doc, out)
        behind = offset + int(node.length)
        if behind > end:
            out.append(Leaf(f"{name}.reserved", end, behind - end, "reserved", "not used"))
        return behind
    if not isinstance(node, (construct.FormatField, construct.Bytes)):
        raise TypeError(f"layouts do not use {type(node).__name__} ({name})")
    size = int(node.sizeof())
    out.append(Leaf(name, offset, size, _kind(node, name, size), doc))
    return offset + size


def _kind(node: Construct, name: str, size: int) -> str:
    """How a leaf is read; its name tells padding, its size x87 registers and tiles."""
    last = name.rpartition(".")[2]
    if last.startswith(("reserved", "pad")):
        return "reserved"
    if isinstance(node, construct.FormatField):
        return "int" if node.fmtstr[-1].islower() else "uint"
    return {10: "x87", 16: "vector", 32: "vector", 64: "vector", 1024: "tile"}.get(size, "bytes")
