"""Words that several views use."""

from __future__ import annotations

from inspector.capture.errors import visible


def styled(*parts: str | tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Texts with a style each: whatever a file brings is visible, and stays in its line."""
    return tuple([(visible(part), "") if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts])


def counted(number: int, what: str) -> str:
    """A number of things: ``1 byte``, ``2 bytes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
