"""A recorded answer of a real kernel beside the machine's; what a replay says of answers that it does not ask."""

from __future__ import annotations

import json
from typing import NamedTuple

_TEXT_LENGTH = 200


class Answer(NamedTuple):
    """One recorded answer beside the machine's. ``accepted``: the real kernel said yes."""

    kind: str
    record: str
    expected: object
    predicted: object
    accepted: bool
    because: str = ""

    @property
    def agrees(self) -> bool:
        """The machine says what the kernel said."""
        return self.expected == self.predicted


class Agreed(NamedTuple):
    """Many answers of a kind that all agree: how many the kernel accepted, and how many it refused."""

    kind: str
    accepted: int
    refused: int


class NotAsked(NamedTuple):
    """Recorded answers that the machine was not asked, and why; they count neither as agreement nor against it."""

    kind: str
    cause: str
    answers: int


def unknown(kind: str) -> NotAsked:
    """A record of a kind that a replay does not have: it is told, and not passed over."""
    return NotAsked(kind, "records of kinds that the machine does not know", 1)


def text_of(record: object) -> str:
    """A record in a report: its JSON, cut."""
    text = json.dumps(record, separators=(",", ":"))
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"


class RecordError(ValueError):
    """A record that does not follow from those before it: a call on a vCPU that nobody made, say."""
