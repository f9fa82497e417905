"""What may be opened: files, pipes and standard input, never a device; nothing waits for ever.

Devices are refused before they are opened, for opening alone may do something (rewind a tape). A FIFO
is opened without waiting, and then has a few seconds to get a writer.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator

from inspector.capture.errors import InputError
from inspector.readers.unpack import CHUNK_SIZE_BYTES
from layouts.light import NamedTuple

#: So long a FIFO may stay without a writer. One that has a writer is waited for as long as that lives.
WRITER_TIMEOUT_SECONDS = 5.0

_KINDS = (
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
)
_WORDS = {
    errno.ENOENT: "no such file",
    errno.EACCES: "permission denied",
    errno.ENXIO: "a device or socket that cannot be opened",
}


class Opened(NamedTuple):
    """A descriptor to read from; the size of a file in bytes (None: a pipe), and what a pipe gave already."""

    descriptor: int
    size_bytes: int | None
    first: bytes = b""

    def chunks(self, name: str) -> Iterator[bytes]:
        """All bytes, in chunks, until the end; the descriptor is closed behind it. InputError names ``name``."""
        at = len(self.first)
        try:
            if self.first:
                yield self.first
            while chunk := os.read(self.descriptor, CHUNK_SIZE_BYTES):
                at += len(chunk)
                yield chunk
        except OSError as error:
            raise InputError(name, "readable bytes", _os_error(error), at) from error
        finally:
            os.close(self.descriptor)


def open_path(path: str) -> Opened:
    """Open a path for reading.

    Raises InputError for what cannot be opened, is empty, is no file, or is a FIFO that nobody writes to.
    """
    try:
        _refuse_devices(path, os.stat(path).st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise InputError(path, "a readable file", _os_error(error)) from error
    try:
        status = os.fstat(descriptor)
        # What the path names may have become another thing since.
        _refuse_devices(path, status.st_mode)
        if stat.S_ISFIFO(status.st_mode):
            return Opened(descriptor, None, _first_of_fifo(path, descriptor))
        if status.st_size == 0:
            raise InputError(path, "a capture", "an empty file")
    except InputError:
        os.close(descriptor)
        raise
    return Opened(descriptor, status.st_size)


def standard_input() -> Opened:
    """Standard input. Raises InputError when it is closed, a terminal or a folder."""
    try:
        descriptor = os.dup(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):
        raise InputError("-", "standard input", "a closed one") from None
    mode = os.fstat(descriptor).st_mode
    found = "a terminal" if os.isatty(descriptor) else ("a folder" if stat.S_ISDIR(mode) else "")
    if found:
        os.close(descriptor)
        raise InputError("-", "a file or a pipe as standard input", found)
    return Opened(descriptor, None)


def _refuse_devices(path: str, mode: int) -> None:
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise InputError(path, "a file", name)


def _first_of_fifo(path: str, descriptor: int) -> bytes:
    """The first bytes of a FIFO that was opened without waiting; InputError when nobody writes in time.

    Reading gives the end of the file while there is no writer, and BlockingIOError while one is slow.
    """
    end = time.monotonic() + WRITER_TIMEOUT_SECONDS
    while True:
        try:
            first = os.read(descriptor, CHUNK_SIZE_BYTES)
        except BlockingIOError:
            _await_bytes(descriptor)
            continue
        if first:
            os.set_blocking(descriptor, True)
            return first
        if time.monotonic() > end:
            raise InputError(path, "a FIFO that is written to", f"no writer within {WRITER_TIMEOUT_SECONDS:g} seconds")
        time.sleep(0.02)


def _await_bytes(descriptor: int) -> None:
    """Return when there are bytes or the last writer is gone."""
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()


def _os_error(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return _WORDS.get(error.errno or 0, error.strerror or str(error))
