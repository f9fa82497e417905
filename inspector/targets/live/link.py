"""A stream socket to a stub or a monitor: every wait and every byte that comes is bounded.

An endpoint may be slow, endless or gone. What is asked of it ends by one deadline for all, and what it may send has a
budget (:mod:`inspector.readers.budget`).
"""

from __future__ import annotations

import errno
import os
import socket
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

from inspector.capture.errors import InputError, UsageError
from inspector.readers.budget import Budget

#: All that is asked of one endpoint ends within this time.
DEADLINE_SECONDS = 6.0
#: More than 4096 vCPUs of the largest register files print.
MOST_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 16
#: What a socket is connected to.
Place: TypeAlias = Any


class Address(NamedTuple):
    """Where an endpoint is: a path of a unix socket, or a host and a port."""

    path: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Word(NamedTuple):
    """A live TARGET taken apart: ``SCHEME:ADDRESS[?WISH]``."""

    target: str
    address: Address
    wish: str


def parsed(target: str, scheme: str, wishes: tuple[str, ...]) -> Word:
    """The address and the wish of a word. ``host:1`` is TCP, what has a slash or exists is a path.

    Raises UsageError for a word without address, with a wish that is none of ``wishes``.
    """
    where, mark, wish = target.removeprefix(scheme).partition("?")
    if mark and wish not in wishes:
        raise UsageError(f"{target}: expected ?{' or ?'.join(wishes)} behind the address, found ?{wish}")
    host, colon, port = where.rpartition(":")
    if not where:
        raise UsageError(f"{target}: expected {scheme}HOST:PORT or {scheme}PATH of a unix socket")
    if "/" not in where and colon and port.isascii() and port.isdigit() and not os.path.exists(where):
        if not 0 < int(port[:6]) < 1 << 16:
            raise UsageError(f"{target}: expected a port of 1 to 65535, found {port[:12]}")
        return Word(target, Address("", host.strip("[]") or "localhost", int(port)), wish)
    return Word(target, Address(where), wish)


def made_socket(word: Word) -> tuple[socket.socket, Place]:
    """A socket that is not connected yet, and what to connect it to. Raises InputError for a host without address."""
    address = word.address
    if address.path:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), address.path
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(word.target, f"the address of {address.host}", error.strerror or str(error)) from None
    for family, kind, protocol, _, place in found:
        if family == socket.AF_INET or len(found) == 1:
            return socket.socket(family, kind, protocol), place
    family, kind, protocol, _, place = found[0]
    return socket.socket(family, kind, protocol), place


def connect(socket_: socket.socket, place: Place, name: str, what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Connect within some time. Raises InputError naming ``what`` should be there."""
    try:
        socket_.settimeout(seconds)
        socket_.connect(place)
    except OSError as error:
        raise InputError(name, what, _reason(error)) from None
    if socket_.family != socket.AF_UNIX:
        # Else every small packet waits for the answer to the one before (30 s instead of 1 s for arm64).
        socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Link:
    """One connection. ``what`` is what should be at the other end, for errors."""

    def __init__(self, word: Word, what: str, socket_: socket.socket, place: Place) -> None:
        self.name = word.target
        self.what = what
        self._socket = socket_
        self._until = monotonic() + DEADLINE_SECONDS
        self._budget = Budget(self.name, f"answers of {what}", records=MOST_BYTES, size_bytes=MOST_BYTES)
        self._held = bytearray()
        connect(socket_, place, self.name, what, DEADLINE_SECONDS)

    def send(self, data: bytes) -> None:
        """Send all of it. Raises InputError when the other end is gone or does not read."""
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(data)
        except OSError as error:
            raise InputError(self.name, self.what, _reason(error)) from None

    def byte(self) -> int:
        """The next byte. Raises InputError at the end, the deadline, and behind the budget."""
        if not self._held:
            self._fill()
        return self._held.pop(0)

    def until(self, mark: bytes, most_bytes: int) -> bytes:
        """What comes before ``mark``, which is taken too. Raises InputError as ``byte``, and when it is too long."""
        looked = 0
        while (at := self._held.find(mark, looked)) < 0:
            if len(self._held) > most_bytes:
                raise InputError(self.name, f"an answer of at most {most_bytes} bytes", "a longer one")
            looked = max(0, len(self._held) - len(mark) + 1)
            self._fill()
        found = bytes(self._held[:at])
        del self._held[: at + len(mark)]
        return found

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _fill(self) -> None:
        try:
            self._socket.settimeout(self._left())
            data = self._socket.recv(_CHUNK_BYTES)
        except OSError as error:
            raise InputError(self.name, self.what, _reason(error)) from None
        if not data:
            raise InputError(self.name, self.what, "the other end closed the connection")
        self._budget.take(None, size_bytes=len(data))
        self._held += data

    def _left(self) -> float:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no whole answer within {DEADLINE_SECONDS:g} seconds"
    if error.errno == errno.ENOENT:
        return "no such socket"
    if error.errno == errno.ECONNREFUSED:
        return "nobody who listens there (connection refused)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to connect (it is for the user who runs the machine, or root)"
    return error.strerror or str(error)
