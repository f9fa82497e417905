"""What kernels did on the way to an answer, as a tracer in them would print it."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """One thing done: by which kernel (``host`` or ``guest``), on which of its CPUs, for whom."""

    level: str
    cpu: int
    task: str
    text: str


class Trace:
    """The lines of the event that is happening."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def take(self) -> tuple[Line, ...]:
        """The lines so far; the next event starts anew."""
        lines, self.lines = tuple(self.lines), []
        return lines
