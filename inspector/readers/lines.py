"""Files that commands read by themselves: line by line, or as one text."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.errors import InputError
from inspector.readers.source import open_source
from inspector.readers.unpack import CHUNK_SIZE_BYTES

#: A line of recorded answers has at most 100 KB.
_MAX_LINE_BYTES = 16 << 20

#: What people write by hand is smaller.
_TEXT_LIMIT_BYTES = 1 << 20


def lines_of(file: str) -> Iterator[bytes]:
    """A file's lines, decompressed. Raises InputError, also for a line that no record is as long as."""
    source = open_source(file)
    rest = b""
    offset = 0
    while chunk := source.read(offset, CHUNK_SIZE_BYTES):
        offset += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE_BYTES:
            raise InputError(file, f"a line of at most {_MAX_LINE_BYTES} bytes", "a longer one", offset - len(rest))
    if source.fault is not None:
        raise source.fault
    yield rest


def text_of(file: str, what: str, limit_bytes: int = _TEXT_LIMIT_BYTES) -> str:
    """A whole file as text. Raises InputError, naming ``what`` it should have been."""
    data = open_source(file).read_all(limit_bytes)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(file, what, "not UTF-8", error.start) from error
