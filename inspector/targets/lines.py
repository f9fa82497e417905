"""``line:FILE:N``: one document of a file that has one a line, as ``inspector fleet add`` takes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.readers.open import read_source
from inspector.readers.options import Options
from inspector.readers.source import BytesSource
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO, Any

SCHEME = "line:"
#: A fingerprint has 100 KB, a snapshot of a vCPU less than a MiB.
MOST_LINE_BYTES = 16 << 20
#: Keys of a line that hold the capture, beside ``name`` and ``time`` of it.
_ENVELOPE = ("capture", "text")


def numbered(file: IO[bytes], first: bytes = b"") -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1 on; ``first`` is the one that has been read. None is too long."""
    number, line = 1, first or file.readline(MOST_LINE_BYTES)
    while line:
        yield number, line
        number, line = number + 1, file.readline(MOST_LINE_BYTES)


def unwrapped(line: bytes, target: str) -> tuple[str, str, bytes]:
    """Name, time and bytes of the document in a line. Raises InputError for what is no JSON.

    ``{"name", "time", "capture": {...}}``, ``{"name", "time", "text": "..."}``, or the document itself.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(target, "JSON", str(error)) from None
    inner = next((found[key] for key in _ENVELOPE if key in found), None) if isinstance(found, dict) else None
    if inner is None:
        return target, "", line
    name, time = (_word(found.get(key)) for key in ("name", "time"))
    data = inner if isinstance(inner, str) else json.dumps(inner, separators=(",", ":"))
    return name or target, time, data.encode("utf-8", "surrogatepass")


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def word_of(target: str) -> str:
    """The word that opens what a store calls ``FILE:N``; other targets as they are."""
    path, _, number = target.rpartition(":")
    is_line = number.isdecimal() and os.path.isfile(path) and not os.path.lexists(target)
    return SCHEME + target if is_line else target


def capture_of_line(target: str, options: Options) -> Capture:
    """``line:FILE:N``. Raises UsageError for a word without a number, and InputError."""
    path, _, number = target.removeprefix(SCHEME).rpartition(":")
    if not (path and number.isascii() and number.isdecimal() and int(number)):
        raise UsageError(f"{target}: expected line:FILE:NUMBER; the first line has number 1")
    if not os.path.isfile(path):
        raise InputError(target, "a file with a document a line", "no such file")
    _, _, data = unwrapped(_line(path, int(number), target), target)
    return read_source(BytesSource(target, data), options)


def _line(path: str, wanted: int, target: str) -> bytes:
    last = 0
    try:
        with open(path, "rb") as file:
            for last, line in numbered(file):
                if last == wanted:
                    return line
    except OSError as error:
        raise InputError(target, "a readable file", error.strerror or "an error") from None
    raise InputError(target, f"line {wanted}", f"{last} lines")
