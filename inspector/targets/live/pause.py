"""What is told of stopping a target: before it is, and for how long it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from inspector.readers.options import Note


class Pause:
    """A stop: from ``begin`` until ``end``, with what came of it in one line."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._seconds = 0.0
        self._outcome = ""

    def begin(self) -> None:
        """From here on the target may stand still."""
        self._began = perf_counter()

    def end(self, outcome: str = "was stopped for {time} and goes on") -> None:
        """The target goes on from here, or what else ``outcome`` says of it."""
        if self._began is not None and not self._outcome:
            self._seconds, self._outcome = perf_counter() - self._began, outcome

    @property
    def line(self) -> str:
        """How long, and what became of it."""
        if self._began is None:
            return "was not stopped"
        self.end("was stopped for {time}; whether it goes on is not known")
        time = f"{self._seconds:.2f} s" if self._seconds >= 1 else f"{self._seconds * 1000:.1f} ms"
        return self._outcome.format(time=time)


@contextmanager
def told_pause(target: str, what: str, note: Note) -> Iterator[Pause]:
    """Say before that ``what`` is stopped, and after it for how long, also where reading failed."""
    note(f"{target}: stops {what} while its registers are read")
    pause = Pause()
    try:
        yield pause
    finally:
        note(f"{target}: {what} {pause.line}")
