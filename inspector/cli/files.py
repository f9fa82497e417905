"""Files that commands read line by line."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.readers.source import CHUNK_SIZE_BYTES, open_source


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
