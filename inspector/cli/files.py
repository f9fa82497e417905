"""Files that commands read line by line, and files that they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from inspector.capture.errors import UsageError
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


def save_new(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is not there yet. Raises UsageError."""
    _save(path, "xb", write)


def save(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, in place of one that is there. Raises UsageError."""
    _save(path, "wb", write)


def _save(path: str, mode: str, write: Callable[[BinaryIO], object]) -> None:
    try:
        with open(path, mode) as out:
            write(out)  # type: ignore[arg-type]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
