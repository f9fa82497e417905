"""Servers that do one thing to whoever connects."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Talk = Callable[[socket.socket], None]


@contextmanager
def served(talk: Talk) -> Iterator[int]:
    """A server that does this with the one who connects; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            other, _ = server.accept()
            with other, suppress(OSError):
                talk(other)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()
        thread.join(0.2)


def packet(body: bytes) -> bytes:
    return b"$" + body + b"#%02x" % (sum(body) % 256)


def endless(data: bytes) -> Talk:
    def talk(other: socket.socket) -> None:
        while True:
            other.sendall(data)

    return talk


def once(data: bytes, seconds: float = 0.0) -> Talk:
    def talk(other: socket.socket) -> None:
        other.recv(1 << 16)
        other.sendall(data)
        time.sleep(seconds)

    return talk


def dripping(other: socket.socket) -> None:
    other.sendall(b"+$")
    while True:
        other.sendall(b"0")
        time.sleep(0.05)
