"""What a person should know of a capture, beside what is in it."""

from __future__ import annotations

from inspector.capture.model import Capture
from inspector.readers.options import Note


def tell_of(capture: Capture, note: Note) -> None:
    """Note what could not be read of a capture; else what its reader decided."""
    if capture.faults:
        more = f" (and {len(capture.faults) - 1} more)" if len(capture.faults) > 1 else ""
        note(f"{capture.faults[0]}{more}; the rest is shown")
        return
    for notice in capture.notices:
        note(f"{capture.target}: {notice}")
