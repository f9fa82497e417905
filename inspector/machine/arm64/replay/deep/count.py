"""Counting: many answers of one record, those that differ one by one."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

from inspector.machine.answer import Agreed, Answer, NotAsked, RecordError, text_of
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
_CODES = {character: code for code, character in _ERRNO.items()}


def letter(code: int) -> str:
    """How the recorder writes an errno in a row of characters."""
    return _ERRNO.get(code, "?")


def code_of(character: str) -> int:
    """The errno that a character stands for; -1 for none."""
    return _CODES.get(character, -1)


def told(record: Record, name: str) -> Any:
    """What a record must have, given what else it has. Raises RecordError."""
    if name not in record:
        raise RecordError(f"{text_of(record)} without {name!r}")
    return record[name]


class Count:
    """The answers of a record. Where one differs the record is shown, or ``shown`` of a long one."""

    def __init__(self, record: Record, *shown: str) -> None:
        self.kind = record["op"]
        self.record = {key: record[key] for key in shown} if shown else record
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
        answers = [ask(at) if character != "-" else _NONE for at, character in enumerate(expected)]
        self.letters(expected, "".join([predicted for predicted, _ in answers]), lambda at: answers[at][1], where)

    def letters(self, expected: str, predicted: str, because: Callable[[int], str], where: str = "") -> None:
        """The same where what is predicted is known, and ``because`` says why where it is wrong."""
        if predicted == expected:
            accepted = sum([expected.count(character) for character in ACCEPTED])
            self.agreed[0] += accepted
            self.agreed[1] += len(expected) - expected.count("-") - accepted
            return
        for at, (character, found) in enumerate(zip(expected, predicted, strict=True)):
            accepted = character in ACCEPTED
            if character == "-":
                continue
            if character == found:
                self.agreed[not accepted] += 1
            else:
                self.one(character, found, accepted=accepted, because=because(at), where=f"{where}[{at}]")

    def done(self) -> Iterator[Counted]:
        """What was counted."""
        if any(self.agreed):
            yield Agreed(self.kind, *self.agreed)
        yield from self.others


#: Characters of calls that succeeded: as written, ignored, changed.
ACCEPTED = frozenset("0wx")
#: What is said where nothing was asked.
_NONE = ("-", "")
