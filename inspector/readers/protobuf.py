"""The wire format of protocol buffers, as much as images of CRIU need.

Source: Protocol Buffers documentation, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inspector.capture.errors import InputError
from inspector.readers.budget import Budget

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10
_WIDE = (1 << 64) - 1


class Value(NamedTuple):
    """One field of a message: its number, and a number or bytes; ``offset`` is where in the file its value begins."""

    field: int
    number: int | None
    data: bytes
    offset: int


class Message:
    """The fields of a message that lies in ``data``, which begins at ``offset`` of ``file``."""

    def __init__(self, file: str, data: bytes, offset: int, budget: Budget) -> None:
        self.file = file
        self.data = data
        self.offset = offset
        self.budget = budget

    def __iter__(self) -> Iterator[Value]:
        """Every field in order. Raises InputError for what is no message."""
        at = 0
        while at < len(self.data):
            start = at
            key, at = self._varint(at)
            self.budget.take(self.offset + start)
            kind = key & 7
            if kind == _VARINT:
                number, end = self._varint(at)
                yield Value(key >> 3, number & _WIDE, b"", self.offset + at)
            elif kind in (_FIXED64, _FIXED32):
                end = at + (8 if kind == _FIXED64 else 4)
                self._fits(at, end)
                yield Value(key >> 3, int.from_bytes(self.data[at:end], "little"), b"", self.offset + at)
            elif kind == _BYTES:
                size, at = self._varint(at)
                end = at + size
                self._fits(at, end)
                yield Value(key >> 3, None, self.data[at:end], self.offset + at)
            else:
                raise InputError(self.file, "a field of a message", f"wire type {kind}", self.offset + start)
            at = end

    def message(self, field: int) -> Message | None:
        """The last message in a field, if there is one. Raises InputError."""
        found = None
        for value in self:
            if value.field == field and value.number is None:
                found = Message(self.file, value.data, value.offset, self.budget)
        return found

    def numbers(self, field: int) -> list[int]:
        """The numbers of a field, packed or not. Raises InputError."""
        found: list[int] = []
        for value in self:
            if value.field != field:
                continue
            if value.number is not None:
                found.append(value.number)
                continue
            inner = Message(self.file, value.data, value.offset, self.budget)
            at = 0
            while at < len(inner.data):
                self.budget.take(inner.offset + at)
                number, at = inner._varint(at)
                found.append(number & _WIDE)
        return found

    def single(self) -> dict[int, int]:
        """The numbers of all fields that are one, by field; the last of each. Raises InputError."""
        return {value.field: value.number for value in self if value.number is not None}

    def _varint(self, at: int) -> tuple[int, int]:
        number = shift = 0
        for n in range(at, min(at + _MOST_VARINT_BYTES, len(self.data))):
            number |= (self.data[n] & 0x7F) << shift
            shift += 7
            if not self.data[n] & 0x80:
                return number, n + 1
        raise InputError(self.file, "a number of at most 10 bytes", "no end of it", self.offset + at)

    def _fits(self, at: int, end: int) -> None:
        if end > len(self.data):
            found = f"{len(self.data) - at} bytes before the end of the message"
            raise InputError(self.file, f"{end - at} bytes", found, self.offset + at)
