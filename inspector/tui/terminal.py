"""The terminal that the program runs in: whether it can show a screen, where keys come from, and its giving back."""

from __future__ import annotations

import os
import signal
import sys
import termios
from types import FrameType
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.capture.plain import wants_ascii
from inspector.tui import config, state

if TYPE_CHECKING:
    from inspector.tui.base_app import BaseApp

#: Signals that end the program: the screen is left first. From the keyboard none comes while a screen is shown.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
#: A program that has not left its screen by itself this long after such a signal is ended at once.
_PATIENCE_SECONDS = 2
_KEYS = 0
#: Textual's driver paints on standard error.
_SCREEN = 2
#: What Textual's driver turns on, off: paste and mouse modes, resize and focus reports, key protocol, the
#: alternate screen; line wrap and the cursor are back (textual/drivers/linux_driver.py, stop_application_mode).
_LEAVE = (
    b"\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"
    b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)


def is_browser() -> bool:
    """The screen is a page of ``inspector serve``: textual-serve names the driver for it."""
    return os.environ.get("TEXTUAL_DRIVER", "").startswith("textual.drivers.web_driver:")


def require_screen() -> None:
    """Raises UsageError where no screen can be shown."""
    instead = "inspector show prints the same as text"
    if os.environ.get("TERM") in ("dumb", "unknown"):
        raise UsageError(f"open needs a terminal with a cursor, TERM is {os.environ['TERM']}; {instead}")
    if not all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr)):
        raise UsageError(f"open needs a terminal; {instead}")


def keys_of_terminal(*, reads_input: bool) -> int | None:
    """The terminal to take keys from, where standard input is something else; None where it is the terminal.

    ``reads_input``: the target is standard input, which then must not be the terminal. Raises UsageError.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        if reads_input:
            raise UsageError("-: standard input is the terminal; expected a pipe or a file (inspector - < core.1234)")
        return None
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"open takes keys from the terminal, and there is none: /dev/tty: {error.strerror}") from None


def take_keys(terminal: int | None) -> None:
    """Put the terminal in the place of standard input, which has been read."""
    if terminal is None:
        return
    os.dup2(terminal, _KEYS)
    if terminal != _KEYS:
        os.close(terminal)
    if sys.__stdin__ is None:
        # It was closed when the program began.
        sys.stdin = sys.__stdin__ = open(_KEYS, closefd=False)  # type: ignore[misc] # noqa: SIM115


def run(app: BaseApp, *, mouse: bool = True, has_state: bool = True) -> int:
    """Run an application; the exit code, 128 + n behind signal n. ``has_state``: it remembers."""
    attributes = termios.tcgetattr(_KEYS)
    ending = 0

    def leave_at_once(_number: int, _frame: FrameType | None) -> None:
        try:
            os.write(_SCREEN, _LEAVE)
            termios.tcsetattr(_KEYS, termios.TCSANOW, attributes)
        except (OSError, termios.error):
            pass  # The terminal is gone.
        os._exit(128 + ending)

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ending
        again, ending = ending, number
        if again or not app.end(128 + number):
            leave_at_once(number, frame)
        signal.signal(signal.SIGALRM, leave_at_once)
        signal.alarm(_PATIENCE_SECONDS)

    # What the parent had ignored stays so: nohup.
    before = {n: old for n in ENDING if (old := signal.getsignal(n)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    app.is_plain = wants_ascii(os.environ)
    app.take_state(state.load() if has_state else state.nothing(), config.load())
    try:
        app.run(mouse=mouse)
    finally:
        signal.alarm(0)
        if has_state:
            state.save(app.state_left())
        for number, old in before.items():
            signal.signal(number, old)
    return app.return_code or 0
