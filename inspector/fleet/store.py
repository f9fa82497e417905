"""The store: facts once per distinct value, and a row a capture, in one SQLite file.

It may be killed at any time: rows come in transactions of a batch each, and adding the same again changes nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

from inspector.capture.errors import InputError, OutputError
from inspector.fleet.facts import Document, packed

#: PRAGMA user_version of a store of ours. A number grows with a change that older programs would misread.
VERSION = 1
_APPLICATION_ID = 0x666C6565
_PRAGMAS = ("user_version", "application_id")
_TABLES = """
CREATE TABLE hosts (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, arch TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE guests (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, arch TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE captures (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL, target TEXT NOT NULL, time TEXT NOT NULL, kernel TEXT NOT NULL,
    host INTEGER NOT NULL REFERENCES hosts, guest INTEGER REFERENCES guests
);
CREATE UNIQUE INDEX captures_once ON captures (name, time, target, host, ifnull(guest, 0));
CREATE TABLE files (target TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE faults (target TEXT PRIMARY KEY, fault TEXT NOT NULL) WITHOUT ROWID;
CREATE VIEW current AS
    SELECT id, name, target, time, kernel, host, guest FROM (
        SELECT *, max(time || printf('%016d', id)) FROM captures GROUP BY name);
"""


class Row(NamedTuple):
    """A capture that is to be kept. ``host`` and ``guest`` are digests of facts; without a guest it is empty."""

    name: str
    target: str
    time: str
    kernel: str
    host: str
    guest: str


class Kept(NamedTuple):
    """Distinct facts, how many captures have them, and the first name among those."""

    id: int
    facts: Document
    captures: int
    name: str


class Counts(NamedTuple):
    """How much is in a store; ``names`` are hosts and guests as people know them."""

    captures: int
    names: int
    hosts: int
    guests: int
    faults: int


class Store:
    """An open store. Raises InputError for a file that is none, OutputError where it cannot be written."""

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.path = path
        if not create and not os.path.exists(path):
            raise InputError(path, "a store of inspector fleet add", "no such file")
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._prepare()
        except sqlite3.Error as error:
            raise self._error(error, writing=create) from None

    def _prepare(self) -> None:
        version, application = (self._db.execute(f"PRAGMA {word}").fetchone()[0] for word in _PRAGMAS)
        if not application and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._db.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION};"
                f"PRAGMA application_id = {_APPLICATION_ID}; COMMIT;"
            )
        elif application != _APPLICATION_ID:
            raise InputError(self.path, "a store of inspector fleet add", "another SQLite file")
        elif version != VERSION:
            raise InputError(self.path, f"a store of version {VERSION}", str(version))

    def _error(self, error: sqlite3.Error, *, writing: bool) -> InputError | OutputError:
        if writing and isinstance(error, sqlite3.OperationalError):
            return OutputError(f"{self.path}: {error}")
        return InputError(self.path, "a store of inspector fleet add", str(error))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # Writing

    def add(
        self,
        rows: Iterable[Row],
        documents: Mapping[str, Document],
        files: Iterable[tuple[str, int, int]] = (),
        faults: Iterable[tuple[str, str]] = (),
    ) -> int:
        """Keep a batch, all or nothing; how many captures are new. ``documents`` are facts by digest."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                added = self._add(list(rows), documents, files, faults)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._error(error, writing=True) from None
        return added

    def _add(
        self,
        rows: list[Row],
        documents: Mapping[str, Document],
        files: Iterable[tuple[str, int, int]],
        faults: Iterable[tuple[str, str]],
    ) -> int:
        for table, digests in (("hosts", {row.host for row in rows}), ("guests", {row.guest for row in rows} - {""})):
            self._db.executemany(
                f"INSERT OR IGNORE INTO {table} (digest, arch, facts) VALUES (?, ?, ?)",  # noqa: S608 - our names
                [(one, documents[one]["arch"], packed(documents[one])) for one in digests if one in documents],
            )
        before = self._db.total_changes
        self._db.executemany(
            "INSERT INTO captures (name, target, time, kernel, host, guest) VALUES (?, ?, ?, ?,"
            " (SELECT id FROM hosts WHERE digest = ?), (SELECT id FROM guests WHERE digest = ?))"
            " ON CONFLICT DO NOTHING",
            rows,
        )
        added = self._db.total_changes - before
        self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", files)
        self._db.executemany("DELETE FROM faults WHERE target = ?", {(row.target,) for row in rows})
        self._db.executemany("INSERT OR REPLACE INTO faults VALUES (?, ?)", faults)
        return added

    # Reading

    def knows_file(self, target: str, size_bytes: int, mtime_ns: int) -> bool:
        """The file was added as it is."""
        query = "SELECT 1 FROM files WHERE target = ? AND size = ? AND mtime_ns = ?"
        return self._db.execute(query, (target, size_bytes, mtime_ns)).fetchone() is not None

    def digests(self, most: int) -> frozenset[str]:
        """The digests of all facts, where there are at most so many; else none."""
        query = "SELECT digest FROM hosts UNION SELECT digest FROM guests LIMIT ?"
        found = [row[0] for row in self._db.execute(query, (most + 1,))]
        return frozenset(found) if len(found) <= most else frozenset()

    def counts(self) -> Counts:
        """How much there is."""
        one = "SELECT (SELECT count(*) FROM captures), (SELECT count(DISTINCT name) FROM captures), (SELECT count(*)"
        rest = " FROM hosts), (SELECT count(*) FROM guests), (SELECT count(*) FROM faults)"
        return Counts(*self._db.execute(one + rest).fetchone())

    def faults(self, most: int = 100) -> list[tuple[str, str]]:
        """Targets that could not be read, with why."""
        return self._db.execute("SELECT target, fault FROM faults ORDER BY target LIMIT ?", (most,)).fetchall()

    def hosts(self) -> list[Kept]:
        """The distinct hosts of the newest capture of each name."""
        return list(self._kept("host", "hosts"))

    def guests(self) -> list[Kept]:
        """The distinct guests of the newest capture of each name."""
        return list(self._kept("guest", "guests"))

    def _kept(self, column: str, table: str) -> Iterator[Kept]:
        query = (
            f"SELECT {table}.id, facts, count(*), min(name) FROM current JOIN {table} ON {table}.id = {column}"  # noqa: S608
            f" GROUP BY {table}.id ORDER BY count(*) DESC, min(name)"
        )
        with closing(self._db.execute(query)) as rows:
            for number, facts, count, name in rows:
                yield Kept(number, json.loads(facts), count, name)

    def names_of(self, host: int, most: int) -> list[str]:
        """The names of captures of a host, at most so many, in order."""
        query = "SELECT name FROM current WHERE host = ? ORDER BY name LIMIT ?"
        return [row[0] for row in self._db.execute(query, (host, most))]

    def named(self, patterns: Iterable[str]) -> dict[str, int]:
        """The host of each name that a pattern (as of a shell) matches."""
        found: dict[str, int] = {}
        for pattern in patterns:
            rows = self._db.execute("SELECT name, host FROM current WHERE name GLOB ?", (pattern,))
            found.update(rows.fetchall())
        return found

    def homes_of(self, guest: int) -> dict[int, int]:
        """The hosts that captures of a guest were made on, with how many."""
        query = "SELECT host, count(*) FROM current WHERE guest = ? GROUP BY host"
        return dict(self._db.execute(query, (guest,)).fetchall())

    def captures(self) -> Iterator[tuple[str, str, str, str, str, str, str]]:
        """Every capture: architecture, name, target, time, kernel, digests of host and guest (empty for none)."""
        query = (
            "SELECT hosts.arch, name, target, time, kernel, hosts.digest, ifnull(guests.digest, '') FROM captures"
            " JOIN hosts ON hosts.id = host LEFT JOIN guests ON guests.id = guest ORDER BY captures.id"
        )
        with closing(self._db.execute(query)) as rows:
            yield from rows

    def facts(self, table: str) -> Iterator[tuple[str, str, str]]:
        """Digest, architecture and facts as text of all ``hosts`` or ``guests``."""
        with closing(self._db.execute(f"SELECT digest, arch, facts FROM {table} ORDER BY id")) as rows:  # noqa: S608
            yield from rows
