"""Words that several views use."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number of things: ``1 byte``, ``2 bytes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
