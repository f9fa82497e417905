"""What a Fleet screen asks, answered by a thread of this process: a process of its own takes longer than a test."""

from __future__ import annotations

from collections import deque
from queue import SimpleQueue

from inspector.tui.fleet_asker import Asker, Piece, Question


class AskedHere:
    """As AskedProcess; nothing of an answer is told before all of it."""

    def __init__(self, store: str) -> None:
        self._pieces: deque[Piece] = deque()
        self._questions: SimpleQueue[Question | None] = SimpleQueue()
        self._asker = Asker(store, self._pieces.append)

    def ask(self, question: Question) -> None:
        self._questions.put(question)

    def wait(self) -> None:
        question = None if self._pieces else self._questions.get()
        if question is not None:
            self._asker.answer(question)

    def take(self) -> Piece:
        if not self._pieces:
            raise EOFError
        return self._pieces.popleft()

    def kill(self) -> None:
        self._questions.put(None)

    def end(self) -> str:
        return "exit code 0"
