"""What is to be added: files, folders, globs, words of a scheme, and JSON, one document a line."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, NamedTuple

from inspector.capture.errors import InputError
from inspector.readers.folder import holds_structures
from inspector.targets.lines import MOST_LINE_BYTES, numbered
from inspector.targets.schemes import scheme_of

#: Endings of files that have a document a line.
_LINES = (".jsonl", ".ndjson")
#: The answer of kubectl is a document of its own.
_MOST_DOCUMENT_BYTES = 256 << 20
_PATTERN = frozenset("*?[")


class Item(NamedTuple):
    """Something to read. ``line`` is a document as text; empty for a ``target`` that is opened.

    ``size_bytes`` and ``mtime_ns`` are those of a file, -1 for what is none; ``path`` is where it is, whatever folder
    the process that reads it stands in.
    """

    target: str
    line: bytes = b""
    size_bytes: int = -1
    mtime_ns: int = -1
    path: str = ""

    @property
    def time(self) -> str:
        """When the file was written, in UTC; empty for what is no file."""
        if self.mtime_ns < 0:
            return ""
        return datetime.fromtimestamp(self.mtime_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def items(words: Iterable[str]) -> Iterator[Item]:
    """Everything that words name, in order. Raises UsageError and InputError for a word that names nothing."""
    for word in words:
        yield from _items(word)


def _items(word: str) -> Iterator[Item]:
    if word == "-":
        yield from _documents(sys.stdin.buffer, "stdin")
    elif os.path.isdir(word):
        yield from _folder(word)
    elif os.path.lexists(word):
        yield from _file(word)
    elif scheme_of(word).prefix:
        yield Item(word)
    elif _PATTERN & set(word):
        found = sorted(glob.glob(word, recursive=True))
        if not found:
            raise InputError(word, "files that match", "none")
        for path in found:
            yield from _items(path)
    else:
        raise InputError(word, "a file, a folder, a glob, a target or -", "no such file")


def _folder(path: str) -> Iterator[Item]:
    """A folder of KVM's structures is one capture; of any other the files, also of folders in it."""
    if holds_structures(path):
        yield _stated(path)
        return
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(path, "a readable folder", error.strerror or "an error") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _folder(entry.path)
        elif entry.is_file():
            yield from _file(entry.path)


def _file(path: str) -> Iterator[Item]:
    if path.endswith(_LINES):
        with open(path, "rb") as file:
            yield from _documents(file, path)
        return
    yield _stated(path)


def _stated(path: str) -> Item:
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(path, "a readable file", error.strerror or "an error") from None
    return Item(path, b"", status.st_size, status.st_mtime_ns, os.path.abspath(path))


def _documents(file: IO[bytes], name: str) -> Iterator[Item]:
    """A document a line; where the first line is none, all is one document. A line too long is told as it is read."""
    first = file.readline(MOST_LINE_BYTES)
    if not _is_whole(first):
        data = first + file.read(_MOST_DOCUMENT_BYTES)
        if data.strip():
            yield Item(name, data)
        return
    for number, line in numbered(file, first):
        if line.strip():
            yield Item(f"{name}:{number}", line)


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
