"""Where the members of a declared structure lie: offsets come out of the declaration, and are written nowhere else."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from layouts.declare import Struct
from layouts.light import NamedTuple

#: What has bytes: of a file, an area or a machine.
Readable = bytes | bytearray | memoryview
_COUNT_BYTES = 4


class Member(NamedTuple):
    """A member of a structure, by its bytes; numbers are little-endian."""

    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size_bytes

    @property
    def slice(self) -> slice:
        """Its bytes, as an index."""
        return slice(self.offset, self.end)

    def get(self, data: Readable) -> int:
        """The number that it holds; bytes that are not there are zero."""
        return int.from_bytes(data[self.offset : self.end], "little")

    def put(self, data: bytes, number: int) -> bytes:
        """The structure with another number there."""
        return data[: self.offset] + number.to_bytes(self.size_bytes, "little") + data[self.end :]

    def store(self, data: bytearray, number: int) -> None:
        """Write a number there."""
        data[self.offset : self.end] = number.to_bytes(self.size_bytes, "little")


def members(declaration: Struct, at: int = 0) -> dict[str, Member]:
    """The members of a Struct by name; ``at`` is where the structure begins. An Array is one member."""
    found: dict[str, Member] = {}
    for member in declaration.subcons:
        found[member.name] = Member(at, member.sizeof())
        at = found[member.name].end
    return found


class Counted:
    """A structure that is a count, what is beside it, and that many entries (``struct kvm_cpuid2``).

    ``header`` and ``entry`` are Structs of integers and bytes; the count is the header's first member.
    """

    def __init__(self, header: Struct, entry: Struct) -> None:
        self.header_size_bytes = header.sizeof()
        self.entry_size_bytes = entry.sizeof()
        self.header, self.members = members(header), members(entry)
        codes = {1: "B", 2: "H", 4: "I", 8: "Q"}
        sizes = [member.size_bytes for member in self.members.values()]
        self._entry = struct.Struct("<" + "".join(codes.get(size, f"{size}x") for size in sizes))

    def pack(self, rows: Sequence[Sequence[int]]) -> bytes:
        """The structure with these entries: the integers of each, in order."""
        head = len(rows).to_bytes(_COUNT_BYTES, "little").ljust(self.header_size_bytes, b"\0")
        return head + b"".join(self._entry.pack(*row) for row in rows)

    def count(self, data: Readable) -> int:
        """The count that it says."""
        return int.from_bytes(data[:_COUNT_BYTES], "little")

    def held(self, data: Readable) -> int:
        """The whole entries that the bytes have room for, whatever the count says."""
        return max(0, len(data) - self.header_size_bytes) // self.entry_size_bytes

    def offsets(self, data: Readable, most: int | None = None) -> range:
        """Where its entries begin: as many as it says, as there are, and at most ``most``."""
        count = min(self.count(data), self.held(data)) if len(data) >= _COUNT_BYTES else 0
        count = count if most is None else min(count, most)
        first, size = self.header_size_bytes, self.entry_size_bytes
        return range(first, first + size * count, size)

    def unpack(self, data: Readable) -> Iterator[tuple[int, ...]]:
        """The integers of each entry that is there."""
        return (self._entry.unpack_from(data, at) for at in self.offsets(data))

    def is_whole(self, data: Readable) -> bool:
        """At least one entry, as many as it says and nothing behind; all padding is zero."""
        if not self.held(data) or len(data) != self.header_size_bytes + self.count(data) * self.entry_size_bytes:
            return False
        return not any(data[_COUNT_BYTES : self.header_size_bytes])
