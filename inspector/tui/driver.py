"""Keys as the terminal brings them. A lone Esc is told from the beginning of another key by what does not follow.

Textual waits 100 ms for that, and looks each 100 ms: an Esc took up to 200. All of a key's bytes come at once, over ssh
too, and within 6 ms at 9600 baud.
"""

from __future__ import annotations

import os
from codecs import getincrementaldecoder
from selectors import EVENT_READ, DefaultSelector

from textual import constants
from textual._parser import Read1
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

#: How long an Esc waits for the rest of a key, where the user has not said otherwise (ESCDELAY, in milliseconds, as for
#: curses); how often it is looked whether the program ends.
ESCAPE_SECONDS, _IDLE_SECONDS = 0.025, 0.1
_AT_ONCE_BYTES = 4096


class _Read1(Read1):
    """A letter that the parser waits for, where it says so only for a time: ours."""

    def __new__(cls, timeout: float | None = None) -> _Read1:
        """As Textual makes one."""
        return super().__new__(cls, timeout if timeout is None or "ESCDELAY" in os.environ else ESCAPE_SECONDS)


class KeyParser(XTermParser):
    """Textual's parser, with our patience."""

    read1 = _Read1


class TerminalDriver(LinuxDriver):
    """Textual's driver of a terminal, which looks for the end of an Esc as soon as it is due."""

    def run_input_thread(self) -> None:
        """Read keys until the program ends. Runs in a thread of its own."""
        parser, decode = KeyParser(self._debug), getincrementaldecoder("utf-8")("replace").decode
        patience = constants.ESCAPE_DELAY if "ESCDELAY" in os.environ else ESCAPE_SECONDS
        is_new = False
        with DefaultSelector() as selector:
            selector.register(self.fileno, EVENT_READ)
            while not self.exit_event.is_set():
                is_new = bool(selector.select(patience if is_new else _IDLE_SECONDS))
                data = os.read(self.fileno, _AT_ONCE_BYTES) if is_new else b""
                if is_new and not data:
                    # The terminal is gone; a signal will say so.
                    self.exit_event.wait(_IDLE_SECONDS)
                text = decode(data)
                for message in (*(parser.feed(text) if text else ()), *parser.tick()):
                    self.process_message(message)
