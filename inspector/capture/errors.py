"""The errors that a user can cause. Each is one line; the exit code says the kind."""

from __future__ import annotations

from inspector.capture.exit_code import ExitCode


def visible(text: str) -> str:
    r"""Make control characters visible: text from a file never drives the terminal.

    ``"a\x1b[2J"`` becomes ``"a\\x1b[2J"``; printable Unicode stays.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class InspectorError(Exception):
    """One clear line for the user, and the exit code that goes with it."""

    exit_code = ExitCode.NO

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class UsageError(InspectorError):
    """The command's words are off."""

    exit_code = ExitCode.USAGE


class OutputError(InspectorError):
    """Something cannot be written where it should go: a full disk, a closed stream, a name that is taken."""

    exit_code = ExitCode.USAGE


class MemoryShortError(InspectorError):
    """The machine has less memory than reading this takes."""

    exit_code = ExitCode.UNREADABLE


class EditError(InspectorError):
    """An edit that cannot be made; nothing was changed."""

    exit_code = ExitCode.USAGE


class InputError(InspectorError):
    """A file that cannot be read, or not whole.

    ``offset`` is in bytes from the start of the (decompressed) file.
    """

    exit_code = ExitCode.UNREADABLE

    def __init__(
        self,
        file: str,
        expected: str,
        found: str,
        offset: int | None = None,
    ) -> None:
        self.file = visible(file)
        self.offset = offset
        self.expected = visible(expected)
        self.found = visible(found)
        where = self.file if offset is None else f"{self.file}: offset {offset:#x}"
        super().__init__(f"{where}: expected {self.expected}, found {self.found}")
