"""The user's edits over areas. The file they came from is never written."""

from __future__ import annotations

from typing import NamedTuple

from inspector.capture.model import Area


class Change(NamedTuple):
    """Bytes of an area that an edit replaced."""

    area: Area
    offset: int
    old: bytes
    new: bytes


class Edit(NamedTuple):
    """One edit as the user made it: a label and the bytes that it replaced."""

    label: str
    changes: tuple[Change, ...]


class Overlay:
    """Edits with undo and redo. An edit is made whole or not at all."""

    def __init__(self) -> None:
        self._done: list[Edit] = []
        self._undone: list[Edit] = []

    @property
    def edits(self) -> list[Edit]:
        """The edits in force, oldest first."""
        return list(self._done)

    def apply(self, label: str, area: Area, writes: list[tuple[int, bytes]]) -> Edit | None:
        """Replace bytes of an area; None when nothing would change.

        Raises ValueError, and changes nothing, when a write reaches outside the area.
        """
        for offset, new in writes:
            if offset < 0 or offset + len(new) > len(area.data):
                raise ValueError(f"bytes {offset:#x} to {offset + len(new):#x} are outside {area.prefix}")
        after = bytearray(area.data)
        for offset, new in writes:
            after[offset : offset + len(new)] = new
        spans = {(offset, offset + len(new)) for offset, new in writes}
        changes = tuple(
            Change(area, start, bytes(area.data[start:end]), bytes(after[start:end]))
            for start, end in sorted(spans)
            if area.data[start:end] != after[start:end]
        )
        if not changes:
            return None
        edit = Edit(label, changes)
        _write(edit, forward=True)
        self._done.append(edit)
        self._undone.clear()
        return edit

    def undo(self) -> Edit | None:
        """Take the last edit back; None when there is none."""
        if not self._done:
            return None
        edit = self._done.pop()
        _write(edit, forward=False)
        self._undone.append(edit)
        return edit

    def redo(self) -> Edit | None:
        """Make the edit again that was taken back last; None when there is none."""
        if not self._undone:
            return None
        edit = self._undone.pop()
        _write(edit, forward=True)
        self._done.append(edit)
        return edit


def _write(edit: Edit, *, forward: bool) -> None:
    for change in edit.changes if forward else reversed(edit.changes):
        area = change.area
        data = bytearray(area.data)
        new = change.new if forward else change.old
        data[change.offset : change.offset + len(new)] = new
        # Equal to the file again: give the very bytes back, so that nothing counts as changed.
        area.data = area.original if data == area.original else bytes(data)
