"""Counting: many answers of one record, those that differ one by one."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

from inspector.machine.answer import Agreed, Answer, NotAsked, text_of
from inspector.machine.outcome import Outcome

Record = dict[str, Any]
Counted = Answer | Agreed | NotAsked

#: The characters that stand for an errno.
_ERRNO = {
    0: "0",
    errno.EPERM: "p",
    errno.ENOENT: "n",
    errno.E2BIG: "B",
    errno.ENOEXEC: "e",
    errno.EFAULT: "f",
    errno.EBUSY: "b",
    errno.EINVAL: "i",
    errno.EOPNOTSUPP: "o",
}


def letter(code: int) -> str:
    """How the recorder writes an errno in a row of characters."""
    return _ERRNO.get(code, "?")


class Count:
    """The answers of a record. ``kind`` names them, ``record`` is shown where one differs."""

    def __init__(self, kind: str, record: Record) -> None:
        self.kind = kind
        self.record = record
        self.agreed = [0, 0]
        self.others: list[Answer] = []

    def one(self, expected: object, predicted: object, *, accepted: bool, because: str = "", where: str = "") -> None:
        """One answer."""
        if expected == predicted:
            self.agreed[not accepted] += 1
        else:
            text = f"{where}: {text_of(self.record)}" if where else text_of(self.record)
            self.others.append(Answer(self.kind, text, expected, predicted, accepted, because))

    def call(self, expected: int, outcome: Outcome, where: str = "") -> None:
        """One call's errno."""
        self.one(expected, outcome.code, accepted=not expected, because=outcome.because, where=where)

    def row(self, expected: str, ask: Callable[[int], tuple[str, str]], where: str = "") -> None:
        """A row of characters, each the answer to a call: ``ask`` says which is predicted, and why. ``-`` is none."""
        for at, character in enumerate(expected):
            if character == "-":
                continue
            predicted, because = ask(at)
            if predicted == character:
                self.agreed[character not in ACCEPTED] += 1
            else:
                self.one(character, predicted, accepted=character in ACCEPTED, because=because, where=f"{where}[{at}]")

    def done(self) -> Iterator[Counted]:
        """What was counted."""
        if any(self.agreed):
            yield Agreed(self.kind, *self.agreed)
        yield from self.others


#: Characters of calls that succeeded: as written, ignored, changed.
ACCEPTED = frozenset("0wx")
