"""Standard output and standard error as they may be: closed, full, of another encoding."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import BinaryIO


class _Closed(io.TextIOBase):
    """A standard output that the shell has closed (``>&-``): nothing can be written."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")

    @property
    def buffer(self) -> BinaryIO:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def prepare() -> None:
    """Make the streams safe to print to, whatever the locale: what cannot be encoded is written as an escape."""
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the program
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Nothing more goes to standard output: what is still buffered must not fail again at the end."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
