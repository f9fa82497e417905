"""Errors that nobody expected: told as the program's own, with a report that the user can pass on."""

from __future__ import annotations

import errno
import os
import platform
import sys
import traceback

from inspector import __version__
from inspector.capture.errors import InspectorError, MemoryShortError, OutputError, visible
from inspector.capture.exit_code import ExitCode

#: What write(2) says of a standard output that is full, closed, or a terminal that is gone.
_PRINTING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO, errno.EPIPE)


class OurBugError(InspectorError):
    """An exception that no file and no words should cause: our mistake, never the user's bad file.

    Made from the exception. The traceback goes into a new file in the temporary folder, which the line names;
    ``report`` is its path, empty where no such file can be written.
    """

    exit_code = ExitCode.OUR_BUG

    def __init__(self, error: BaseException) -> None:
        self.report = _kept(_report_of(error))
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        how = f"with {self.report}" if self.report else "with the command and its input (no report could be written)"
        super().__init__(f"a bug of ours: {what}; please report it {how}")


def told(error: BaseException) -> InspectorError:
    """Any exception as one line with its exit code.

    What the machine refuses (a full disk, too little memory) is not our bug; everything else that no rule of ours
    foresaw is.
    """
    if isinstance(error, InspectorError):
        return error
    if isinstance(error, MemoryError):
        return MemoryShortError("not enough memory for this")
    if isinstance(error, OSError) and error.errno in _PRINTING:
        # What reads and writes files tells their errors itself: what is left is what was printed.
        return OutputError(f"standard output: {error.strerror}")
    return OurBugError(error)


def _report_of(error: BaseException) -> str:
    """What a bug report needs: version, platform, the command, the traceback."""
    words = " ".join(visible(word) for word in sys.argv)
    head = f"inspector {__version__}, Python {platform.python_version()}, {platform.platform()}\n{words}\n\n"
    return head + "".join(traceback.format_exception(error))


def _kept(report: str) -> str:
    """Write a report to a file of its own; the path, or nothing where that cannot be."""
    import tempfile

    path = ""
    try:
        descriptor, path = tempfile.mkstemp(prefix="inspector-bug-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(report)
    except OSError:
        # A full disk, no temporary folder: nothing half written stays.
        if path:
            os.unlink(path)
        return ""
    return path
