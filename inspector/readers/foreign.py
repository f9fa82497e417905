"""Formats that are known but not read: named, with what to do instead (``layouts/files/foreign.py``)."""

from __future__ import annotations

import re

from inspector.capture.errors import InputError
from layouts.files.foreign import MAGIC, TEXT, Foreign

_TEXT_SIZE_BYTES = 16384
#: Bytes that no text has.
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1a]")


def by_magic(head: bytes) -> Foreign | None:
    """The format that begins so, by marks that nothing else has."""
    return next((row for row in MAGIC if re.match(row.pattern, head)), None)


def by_text(head: bytes) -> Foreign | None:
    """The text that has such lines near its beginning."""
    head = head[:_TEXT_SIZE_BYTES]
    if _BINARY.search(head):
        return None
    return next((row for row in TEXT if re.search(row.pattern, head)), None)


def refusal(file: str, found: Foreign) -> InputError:
    """What it is and what to do."""
    return InputError(file, "a format with registers that inspector reads", f"{found.name}: {found.advice}", 0)
