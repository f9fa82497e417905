"""A process that is asked: while it works the screen's own process has nothing to do but take small pieces. No toolkit.

A thread would share the interpreter with the screen: each key would wait for it a dozen times.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection

from inspector.capture.exit_code import how_ended
from inspector.tui.fleet_asker import FORECAST, Asker, Piece, Question, SupersededError

#: Rows that are sent together: taking them holds the interpreter for a few milliseconds at most.
_ROWS = 4
_ENDING_SECONDS = 1.0
#: The same modules from the same places, whatever this process was started by.
_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import serve; serve({store!r}, {descriptor})"


class AskedProcess:
    """The process, at work as soon as it is made. Raises OSError where there can be none.

    It has no terminal, that is the screen's: neither its keys and signals, nor what libraries print. It ends when its
    connection does.
    """

    def __init__(self, store: str) -> None:
        ours, theirs = socket.socketpair()
        words = {"path": sys.path, "module": __name__, "store": store, "descriptor": theirs.fileno()}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this program again
                [sys.executable, "-c", _PROGRAM.format(**words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._connection = Connection(ours.detach())

    def ask(self, question: Question) -> None:
        """Ask a question behind those that were asked. A process that is gone is told of by ``take``."""
        with suppress(OSError):
            self._connection.send(question)

    def wait(self) -> None:
        """Wait until there is a piece, or the process is gone."""
        self._connection.poll(None)

    def take(self) -> Piece:
        """The next piece. Raises EOFError when the process is gone."""
        try:
            piece, count = self._connection.recv()
            rows: list[object] = []
            while len(rows) < count:
                rows += self._connection.recv()
        except OSError:
            raise EOFError from None
        found: Piece = piece
        return found._replace(rows=rows)

    def kill(self) -> None:
        """Nobody asks any more."""
        self._process.kill()

    def end(self) -> str:
        """End it, if it has not ended by itself; how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_SECONDS)
        self._process.kill()
        code = self._process.wait()
        self._connection.close()
        return how_ended(code)


def serve(store: str, descriptor: int) -> None:
    """The process: questions are answered in their order, until nobody asks any more."""
    with suppress(EOFError, OSError):
        _Served(store, Connection(descriptor)).work()


class _Served:
    """The process's end."""

    def __init__(self, store: str, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[Question] = deque()
        self._asker = Asker(store, self._tell, self._heed)
        self._name = ""

    def work(self) -> None:
        """Answer. Raises EOFError and OSError when nobody asks."""
        while True:
            question = self._waiting.popleft() if self._waiting else self._connection.recv()
            self._name = question.name
            self._asker.answer(question)

    def _tell(self, piece: Piece) -> None:
        rows = piece.rows
        self._connection.send((piece._replace(rows=()), len(rows)))
        for at in range(0, len(rows), _ROWS):
            self._connection.send(rows[at : at + _ROWS])

    def _heed(self) -> None:
        """Look for newer questions: another forecast is instead of the one that is worked on."""
        while self._connection.poll():
            self._waiting.append(self._connection.recv())
        if self._name == FORECAST and any(one.name == FORECAST for one in self._waiting):
            raise SupersededError
