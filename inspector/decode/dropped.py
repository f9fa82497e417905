"""Bytes that were left out when a report was made: zero where they lie, and told as not captured.

The attribute ``dropped`` of an area holds rows of kind, offset and size in bytes: sorted, without overlap, each with a
kind of ``layouts.secrets``.
"""

from __future__ import annotations

from collections.abc import Iterable

from inspector.capture.attributes import DroppedRow
from inspector.capture.model import Area
from inspector.decode.spec import Span


class DroppedBytes:
    """Which bytes of an area were left out."""

    def __init__(self, area: Area) -> None:
        self.rows: list[DroppedRow] = area.attributes.get("dropped", [])
        self._starts = [row[1] for row in self.rows] if self.rows else []

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DroppedBytes) and self.rows == other.rows

    __hash__ = None  # type: ignore[assignment]

    def kind(self, pieces: Iterable[Span]) -> str:
        """The kind of what was left out of some bytes; empty when nothing was."""
        if not self.rows:
            return ""
        from bisect import bisect_left

        for offset, size_bytes in pieces:
            at = bisect_left(self._starts, offset + size_bytes) - 1
            if at >= 0 and self._starts[at] + self.rows[at][2] > offset:
                return self.rows[at][0]
        return ""
