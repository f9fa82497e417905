"""The store: facts once per distinct value, and a row a capture, in one SQLite file.

It may be killed at any time: rows come in transactions of a batch each, and adding the same again changes nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from inspector.capture.errors import InputError, OutputError
from inspector.fleet.facts import Document, packed
from inspector.targets.kept import document_of
from layouts.files.fleet_store import APPLICATION_ID, VERSION

#: What comes of damage. A message of SQLite itself may quote what is no text.
_WRONG = (sqlite3.Error, UnicodeDecodeError)
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
#: The view as a table of this connection, made once: it takes a pass over all captures. In a file where it is large.
_NEWEST = """
DROP TABLE IF EXISTS temp.newest;
CREATE TEMP TABLE newest (host, name, capture, guest, PRIMARY KEY (host, name)) WITHOUT ROWID;
INSERT INTO newest SELECT host, name, id, guest FROM current;
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


class Named(NamedTuple):
    """The newest capture of a name. ``guest`` is its id, 0 where none was captured."""

    name: str
    target: str
    time: str
    kernel: str
    guest: int


class Counts(NamedTuple):
    """How much is in a store; ``names`` are hosts and guests as people know them."""

    captures: int
    names: int
    hosts: int
    guests: int
    faults: int


class Store:
    """An open store. Raises InputError for a file that is none, OutputError where it cannot be written.

    One thread at a time may ask it.
    """

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.path = path
        if not create and not os.path.exists(path):
            raise InputError(path, "a store of inspector fleet add", "no such file")
        self._has_newest = False
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._prepare()
        except _WRONG as error:
            raise self._error(error, writing=create) from None

    def _prepare(self) -> None:
        version, application = (self._db.execute(f"PRAGMA {word}").fetchone()[0] for word in _PRAGMAS)
        if not application and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._db.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION};"
                f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
            )
        elif application != APPLICATION_ID:
            raise InputError(self.path, "a store of inspector fleet add", "another SQLite file")
        elif version != VERSION:
            raise InputError(self.path, f"a store of version {VERSION}", str(version))

    def _error(self, error: Exception, *, writing: bool) -> InputError | OutputError:
        if writing and isinstance(error, sqlite3.OperationalError):
            return OutputError(f"{self.path}: {error}")
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            # Nothing is written to a store that is asked.
            return OutputError(f"{self.path}: no room for the temporary table of its names (TMPDIR: another folder)")
        return InputError(self.path, "a store of inspector fleet add", str(error))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What is damaged is told as the file's fault. Raises InputError."""
        try:
            yield
        except _WRONG as error:
            raise self._error(error, writing=False) from None

    def _rows(self, query: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that a query has. Raises InputError."""
        with self._reading():
            return self._db.execute(query, tuple(values)).fetchall()

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
        except _WRONG as error:
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
        self._has_newest = False
        return added

    # Reading

    def knows_file(self, target: str, size_bytes: int, mtime_ns: int) -> bool:
        """The file was added as it is."""
        query = "SELECT 1 FROM files WHERE target = ? AND size = ? AND mtime_ns = ?"
        return bool(self._rows(query, (target, size_bytes, mtime_ns)))

    def digests(self, most: int) -> frozenset[str]:
        """The digests of all facts, where there are at most so many; else none."""
        query = "SELECT digest FROM hosts UNION SELECT digest FROM guests LIMIT ?"
        found = [row[0] for row in self._rows(query, (most + 1,))]
        return frozenset(found) if len(found) <= most else frozenset()

    def counts(self) -> Counts:
        """How much there is."""
        one = "SELECT (SELECT count(*) FROM captures), (SELECT count(DISTINCT name) FROM captures), (SELECT count(*)"
        rest = " FROM hosts), (SELECT count(*) FROM guests), (SELECT count(*) FROM faults)"
        return Counts(*self._rows(one + rest)[0])

    def faults(self, most: int = 100) -> list[tuple[str, str]]:
        """Targets that could not be read, with why."""
        rows = self._rows("SELECT target, fault FROM faults ORDER BY target LIMIT ?", (most,))
        return [(target, fault) for target, fault in rows]

    def hosts(self) -> list[Kept]:
        """The distinct hosts of the newest capture of each name."""
        return list(self._kept("host", "hosts"))

    def guests(self) -> list[Kept]:
        """The distinct guests of the newest capture of each name."""
        return list(self._kept("guest", "guests"))

    def _kept(self, column: str, table: str) -> Iterator[Kept]:
        query = (
            f"SELECT {table}.id, digest, facts, count, first FROM"  # noqa: S608 - our names
            f" (SELECT {column} AS one, count(*) AS count, min(name) AS first FROM newest GROUP BY {column})"
            f" JOIN {table} ON {table}.id = one ORDER BY count DESC, first"
        )
        self.prepare_names()
        with self._reading(), closing(self._db.execute(query)) as rows:
            for number, name_of_facts, facts, count, name in rows:
                yield Kept(number, document_of(self.path, name_of_facts, facts), count, name)

    def facts_of(self, table: str, number: int) -> Document:
        """The facts of a row of ``hosts`` or ``guests``."""
        found = self._rows(f"SELECT digest, facts FROM {table} WHERE id = ?", (number,))  # noqa: S608 - our names
        if not found:
            raise InputError(self.path, f"row {number} of {table}", "none")
        return document_of(self.path, *found[0])

    def _newest(self, query: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query about the newest capture of each name."""
        self.prepare_names()
        return self._rows(query, values)

    def prepare_names(self) -> None:
        """Look through all captures once, so that what follows is quick. Raises InputError."""
        if self._has_newest:
            return
        with self._reading():
            self._db.executescript(_NEWEST)
        self._has_newest = True

    def names_of(self, host: int, most: int) -> list[str]:
        """The names of captures of a host, at most so many, in order."""
        rows = self._newest("SELECT name FROM newest WHERE host = ? ORDER BY name LIMIT ?", (host, most))
        return [row[0] for row in rows]

    def page_of(self, host: int, start: int, most: int) -> list[Named]:
        """Captures of a host in the order of their names, so many from one on."""
        query = (
            "SELECT newest.name, target, time, kernel, ifnull(newest.guest, 0) FROM"
            " (SELECT * FROM newest WHERE host = ? ORDER BY name LIMIT ? OFFSET ?) AS newest"
            " JOIN captures ON captures.id = capture ORDER BY newest.name"
        )
        return [Named(*row) for row in self._newest(query, (host, most, start))]

    def next_of(self, host: int, text: str, start: int, by: int) -> int | None:
        """The place of the next name of a host that has a text, from a place on, forwards or back; None for none."""
        if start < 0:
            return None
        order, sign = ("ASC", ">=") if by > 0 else ("DESC", "<=")
        here = self._newest("SELECT name FROM newest WHERE host = ? ORDER BY name LIMIT 1 OFFSET ?", (host, start))
        if not here:
            return None
        query = (
            f"SELECT name FROM newest WHERE host = ? AND name {sign} ? AND name LIKE ? ESCAPE '!'"  # noqa: S608
            f" ORDER BY name {order} LIMIT 1"
        )
        found = self._newest(query, (host, here[0][0], _like(text)))
        if not found:
            return None
        ((rank,),) = self._newest("SELECT count(*) FROM newest WHERE host = ? AND name < ?", (host, found[0][0]))
        return int(rank)

    def hosts_named(self, text: str) -> dict[int, int]:
        """The hosts of names that have a text, with how many."""
        query = "SELECT host, count(*) FROM newest WHERE name LIKE ? ESCAPE '!' GROUP BY host"
        return dict(self._newest(query, (_like(text),)))

    def names_like(self, pattern: str, most: int) -> list[str]:
        """Names that a pattern (as of a shell) matches, at most so many."""
        rows = self._newest("SELECT name FROM newest WHERE name GLOB ? ORDER BY name LIMIT ?", (pattern, most))
        return [row[0] for row in rows]

    def named(self, patterns: Iterable[str]) -> dict[str, int]:
        """The host of each name that a pattern (as of a shell) matches."""
        found: dict[str, int] = {}
        for pattern in patterns:
            rows = self._newest("SELECT name, host FROM newest WHERE name GLOB ?", (pattern,))
            found.update(dict(rows))
        return found

    def homes(self) -> dict[int, dict[int, int]]:
        """By guest the hosts that captures of it were made on, with how many."""
        found: dict[int, dict[int, int]] = {}
        query = "SELECT guest, host, count(*) FROM newest WHERE guest IS NOT NULL GROUP BY guest, host"
        for guest, host, count in self._newest(query):
            found.setdefault(guest, {})[host] = count
        return found

    def capture_of(self, guest: int) -> Named | None:
        """A capture of a guest, the first by name; None where its newest captures are of others."""
        query = (
            "SELECT newest.name, target, time, kernel, newest.guest FROM newest JOIN captures ON captures.id = capture"
            " WHERE newest.guest = ? ORDER BY newest.name LIMIT 1"
        )
        found = self._newest(query, (guest,))
        return Named(*found[0]) if found else None

    def captures(self) -> Iterator[tuple[str, str, str, str, str, str, str]]:
        """Every capture: architecture, name, target, time, kernel, digests of host and guest (empty for none)."""
        query = (
            "SELECT hosts.arch, name, target, time, kernel, hosts.digest, ifnull(guests.digest, '') FROM captures"
            " JOIN hosts ON hosts.id = host LEFT JOIN guests ON guests.id = guest ORDER BY captures.id"
        )
        with self._reading(), closing(self._db.execute(query)) as rows:
            yield from rows

    def facts(self, table: str) -> Iterator[tuple[str, str, str]]:
        """Digest, architecture and facts as text of all ``hosts`` or ``guests``."""
        query = f"SELECT digest, arch, facts FROM {table} ORDER BY id"  # noqa: S608 - our names
        with self._reading(), closing(self._db.execute(query)) as rows:
            yield from rows


def _like(text: str) -> str:
    """A pattern of LIKE for names that have a text."""
    for sign in "!%_":
        text = text.replace(sign, f"!{sign}")
    return f"%{text}%"
