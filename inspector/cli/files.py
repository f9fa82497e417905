"""Files that commands read by themselves: line by line, or as one text."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.errors import InputError
from inspector.readers.source import CHUNK_SIZE_BYTES, open_source

#: What people write by hand is smaller.
_TEXT_LIMIT_BYTES = 1 << 20


def lines_of(file: str) -> Iterator[bytes]:
    """A file's lines, decompressed. Raises InputError."""
    source = open_source(file)
    rest = b""
    offset = 0
    while chunk := source.read(offset, CHUNK_SIZE_BYTES):
        offset += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if source.fault is not None:
        raise source.fault
    yield rest


def text_of(file: str, what: str) -> str:
    """A whole file as text. Raises InputError, naming ``what`` it should have been."""
    data = open_source(file).read_all(_TEXT_LIMIT_BYTES)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(file, what, "not UTF-8", error.start) from error
