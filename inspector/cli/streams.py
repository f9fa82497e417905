"""Standard output and standard error: what goes there, and how they may be (closed, full, of another encoding).

Commands print by this module only; ruff holds that.
"""

from __future__ import annotations

import errno
import io
import os
import sys

from inspector.capture.errors import visible
from inspector.capture.plain import ERRORS

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, BinaryIO


class _Closed(io.TextIOBase):
    """A standard output that the shell has closed (``>&-``): nothing can be written."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")

    @property
    def buffer(self) -> BinaryIO:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def prepare() -> None:
    """Make the streams safe to print to, whatever the locale: what cannot be encoded becomes ASCII, or an escape."""
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the program
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def is_terminal() -> bool:
    """Somebody looks at what is printed, and types."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def drop_output() -> None:
    """Nothing more goes to standard output: what is still buffered must not fail again at the end."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def say(*lines: str) -> None:
    """Print lines. What a file, a model or a name brings is visible, and stays in its line."""
    for line in lines:
        print(visible(line))


def say_columns(*columns: str) -> None:
    """Print columns with a tab between, for programs that read lines; in each, what a name brings is visible."""
    print(*map(visible, columns), sep="\t")


def say_json(value: Any, indent: int | None = 1) -> None:
    """Print a value for programs: what text has in it is escaped, so that it is JSON in any encoding."""
    from inspector.export.encode import encode, indented

    try:
        print(encode(value) if indent is None else indented(value, indent))
    except TypeError:  # A number with a fraction, or a key that is no text.
        import json

        json.dump(value, sys.stdout, indent=indent)
        print()


def note(line: str) -> None:
    """Print a line for people, on standard error; that this cannot be read by anybody is no error."""
    try:  # noqa: SIM105 - contextlib takes longer to import than to do without
        print(visible(line), file=sys.stderr)
    except OSError:
        pass
