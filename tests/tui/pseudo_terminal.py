"""The real program in a pseudo-terminal, and what that terminal shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyte


class Terminal:
    """A program with a terminal. ``received`` are its bytes, ``screen`` what they paint."""

    def __init__(self, descriptor: int, child: int, columns: int, lines: int) -> None:
        self.descriptor = descriptor
        self.child = child
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.received = b""
        self.begin = termios.tcgetattr(descriptor)
        self._code: int | None = None

    def read(self, seconds: float) -> bool:
        """Take what comes for so long; False at the end of the program."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            if not poll.poll(1000 * left):
                return True
            try:
                data = os.read(self.descriptor, 1 << 16)
            except OSError:
                return False
            self.received += data
            self.stream.feed(data)
        return True

    def wait_for(self, text: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            is_open = self.read(0.1)
            if text in "\n".join(self.screen.display):
                return
            if not is_open:
                break
        raise AssertionError(f"{text!r} did not come; on screen:\n" + "\n".join(self.screen.display))

    def type(self, keys: str | bytes) -> None:
        os.write(self.descriptor, keys.encode() if isinstance(keys, str) else keys)

    def end(self, seconds: float = 20) -> int:
        """Wait for the program's end; its exit code, -n where signal n killed it."""
        until = time.monotonic() + seconds
        while self._code is None:
            self.read(0.05)
            done, status = os.waitpid(self.child, os.WNOHANG)
            if done:
                self._code = os.waitstatus_to_exitcode(status)
                self.read(0.05)
            elif time.monotonic() > until:
                os.kill(self.child, signal.SIGKILL)
                self._code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
                raise AssertionError("the program did not end; on screen:\n" + "\n".join(self.screen.display))
        return self._code

    @property
    def is_restored(self) -> bool:
        """The screen is left, mouse and paste modes are off, the cursor is there, keys are as they were."""
        modes = {mode: self.received.rfind(b"\x1b[?%dh" % mode) for mode in (1049, 1000, 1003, 1006, 2004, 1004)}
        left = all(on < self.received.rfind(b"\x1b[?%dl" % mode) for mode, on in modes.items())
        cursor = self.received.rfind(b"\x1b[?25h") > self.received.rfind(b"\x1b[?25l")
        return left and cursor and modes[1049] >= 0 and termios.tcgetattr(self.descriptor) == self.begin


@contextmanager
def program(
    *words: str,
    columns: int = 80,
    lines: int = 24,
    standard_input: int | None = None,
    controls: bool = True,
    code: str = "",
    **environment: str,
) -> Iterator[Terminal]:
    """``inspector WORDS`` in a terminal.

    ``standard_input``: a descriptor in the place of the terminal; ``controls``: whether the terminal is the
    controlling one (/dev/tty); ``code``: Python to run before the program.
    """
    child, descriptor = pty.fork()
    if child == 0:
        os.environ.pop("COLUMNS", None)
        os.environ.pop("LINES", None)
        os.environ.update({"TERM": "xterm-256color", **environment})
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if not controls:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            fcntl.ioctl(0, termios.TIOCNOTTY)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if standard_input is not None:
            os.dup2(standard_input, 0)
        start = f"{code}\nimport sys\nfrom inspector.cli.main import main\nsys.exit(main({list(words)!r}))"
        os.execv(sys.executable, [sys.executable, "-c", start])
    terminal = Terminal(descriptor, child, columns, lines)
    try:
        yield terminal
        terminal.end()
    finally:
        if terminal._code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(descriptor)
