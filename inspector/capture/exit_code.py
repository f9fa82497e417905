"""The exit codes of all commands: docs/guide.md tells users of them."""

from __future__ import annotations


class ExitCode:
    """What a command says by its exit code. A signal N is 128 + N, as a shell has it."""

    #: Fine; also when the reader of the output has seen enough.
    OK = 0
    #: A refusal, a disagreement, a difference, nothing found.
    NO = 1
    #: Bad usage, or an output that cannot be written.
    USAGE = 2
    #: A file that cannot be read, or not whole.
    UNREADABLE = 3
    #: EX_SOFTWARE of sysexits.h.
    OUR_BUG = 70
    #: SIGINT: Ctrl-C.
    INTERRUPTED = 130

    @classmethod
    def of(cls, holds: object) -> int:
        """OK where what the command was asked holds, else NO."""
        return cls.OK if holds else cls.NO


def how_ended(code: int) -> str:
    """A process's end in words, by its code: below 0 the number of the signal (``subprocess.Popen.returncode``)."""
    import signal

    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
