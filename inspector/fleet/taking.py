"""A batch of items becomes facts: what a worker process does, here or on another machine. It keeps nothing.

The same document is read once in a worker's life: what it came to is kept by the digest of its bytes, as long as it is
one of the last.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from inspector.capture.bug import told
from inspector.capture.errors import InputError, InspectorError
from inspector.fleet.facts import Document, digest
from inspector.fleet.gather import gather
from inspector.fleet.sources import Item
from inspector.fleet.store import Row
from inspector.targets.kept import digest_of
from inspector.targets.lines import unwrapped
from layouts.light import lru_cache

#: A larger file is read, not hashed before.
_HASHED_BYTES = 4 << 20
_KEPT_DOCUMENTS = 4096


class Batch(NamedTuple):
    """What a batch came to: rows, facts by digest that were not known, the files that were read, what was not."""

    rows: list[Row]
    documents: dict[str, Document]
    files: list[tuple[str, int, int]]
    faults: list[tuple[str, str]]
    items: int


class _Found(NamedTuple):
    """A capture in a document, with the digests of its facts."""

    name: str
    kernel: str
    host: str
    guest: str


def take(items: Sequence[Item], known: frozenset[str] = frozenset()) -> Batch:
    """Read a batch. ``known`` are digests of facts that need not be sent. Never raises for what an item holds."""
    rows: list[Row] = []
    documents: dict[str, Document] = {}
    files: list[tuple[str, int, int]] = []
    faults: list[tuple[str, str]] = []
    for item in items:
        try:
            found = _taken(item)
        except Exception as error:  # noqa: BLE001 - one bad capture of thousands is a line; told() says which are bugs
            faults.append((item.target, str(told(error))))
            continue
        for row, facts in found:
            rows.append(row)
            documents |= {one: document for one, document in facts.items() if one not in known}
        if item.size_bytes >= 0:
            files.append((item.target, item.size_bytes, item.mtime_ns))
    return Batch(rows, documents, files, faults, len(items))


def _taken(item: Item) -> list[tuple[Row, dict[str, Document]]]:
    """The captures of an item with their facts by digest. Raises what reading it raises."""
    name, time, data = _opened(item)
    found, documents = _read(data, item.target) if data is not None else _of_target(item.path or item.target)
    rows = [Row(one.name or name, item.target, time, one.kernel, one.host, one.guest) for one in found]
    return [(row, {key: documents[key] for key in (row.host, row.guest) if key}) for row in rows]


def _opened(item: Item) -> tuple[str, str, bytes | None]:
    """The name and time of an item, and its bytes; None for what is opened by its target."""
    if item.line:
        return unwrapped(item.line, item.target)
    if 0 <= item.size_bytes <= _HASHED_BYTES and os.path.isfile(item.path):
        with open(item.path, "rb") as file:
            return item.target, item.time, file.read()
    return item.target, item.time, None


_Read = tuple[tuple[_Found, ...], dict[str, Document]]


def _read(data: bytes, target: str) -> _Read:
    """What bytes come to. Raises InputError of the target."""
    found = _remembered(_Bytes(data))
    if isinstance(found, InputError):
        raise InputError(target, found.expected, found.found, found.offset)
    if isinstance(found, InspectorError):
        raise InputError(target, "a capture", str(found))
    return found


class _Bytes:
    """Bytes that are the same where their digest is; they are held no longer than they are read."""

    __slots__ = ("data", "name")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.name = digest_of(data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


@lru_cache(maxsize=_KEPT_DOCUMENTS)
def _remembered(document: _Bytes) -> _Read | InspectorError:
    """What a document comes to, or why it is none: read as a file, so that every format is found as it always is."""
    with tempfile.NamedTemporaryFile(prefix="inspector-fleet-") as file:
        file.write(document.data)
        file.flush()
        document.data = b""
        try:
            return _of_target(file.name)
        except InspectorError as error:
            return error.with_traceback(None)


def _of_target(target: str) -> _Read:
    found: list[_Found] = []
    documents: dict[str, Document] = {}
    for facts in gather(target):
        host, guest = digest(facts.host), digest(facts.guest) if facts.guest is not None else ""
        documents[host] = facts.host
        if facts.guest is not None:
            documents[guest] = facts.guest
        found.append(_Found(facts.name, facts.kernel, host, guest))
    return tuple(found), documents
