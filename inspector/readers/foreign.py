"""Formats that are known but not read: named, with what to do instead (``layouts/files/foreign.py``)."""

from __future__ import annotations

import re

from inspector.capture.errors import InputError
from inspector.readers.options import Options
from inspector.readers.source import Source
from layouts.files.foreign import MAGIC, TEXT, Foreign
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

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


def read(source: Source, _options: Options) -> NoReturn:
    """Raises InputError: what it is and what to do."""
    head = source.read(0, _TEXT_SIZE_BYTES)
    found = by_magic(head) or by_text(head)
    what = f"{found.name}: {found.advice}" if found else "another one"
    raise InputError(source.name, "a format with registers that inspector reads", what, 0)
