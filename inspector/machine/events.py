"""Words of events, of both architectures: numbers, where an event happens, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import UsageError
from layouts.light import lru_cache

Words = Sequence[str]
#: Instead of a value: what the capture holds.
CAPTURED = "captured"
#: As many CPUs, vCPUs and threads as an event can name.
_PLACES = 1024
#: As many digits as the number behind a name can have.
_DIGITS = 4


class EventError(UsageError):
    """Words that are no event, or an event that cannot happen yet."""

    def __init__(self, event: str, why: str) -> None:
        super().__init__(f"event {event!r}: {why}")
        self.why = why


def number(text: str, bits: int = 64) -> int:
    """A number of so many bits in any of Python's notations. Raises ValueError."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{text} is not a number of {bits} bits")
    return value


def digits(text: str) -> int:
    """The number behind a name, as in ``z5``: a few decimal digits; -1 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else -1


def below(text: str, limit: int) -> int:
    """A number below a limit. Raises ValueError."""
    value = number(text)
    if value >= limit:
        raise ValueError(f"{text} is not below {limit}")
    return value


def word(words: Words, at: int, what: str) -> str:
    """A word that has to be there. Raises ValueError."""
    if at >= len(words):
        raise ValueError(f"{what} is missing")
    return words[at]


@lru_cache(maxsize=1024)
def parsed(event: str, places: tuple[str, ...]) -> tuple[list[str], dict[str, int]]:
    """The words of an event, and where it happens: ``vcpu=1``, of the words that say so. Raises ValueError."""
    words: list[str] = []
    at: dict[str, int] = {}
    for text in event.split():
        name, equals, value = text.partition("=")
        if equals and name in places:
            at[name] = below(value, _PLACES)
        else:
            words.append(text)
    return words, at
