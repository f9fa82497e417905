"""Words that several views use."""

from __future__ import annotations

from inspector.capture.errors import visible

#: The verdict on a vCPU that is to move, of either architecture.
VERDICTS = {
    "arrives": "the vCPU arrives",
    "open": "not known, it hangs on what nobody tells",
    "lossy": "nothing refuses the vCPU, and it is another one afterwards",
    "refused": "the destination refuses the vCPU",
}


def styled(*parts: str | tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Texts with a style each: whatever a file brings is visible, and stays in its line."""
    return tuple([(visible(part), "") if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts])


def counted(number: int, what: str) -> str:
    """A number of things: ``1 byte``, ``2 bytes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
