"""A QEMU stream without its description: walk it forward, RAM by its own record sizes."""

from __future__ import annotations

from typing import Any

from inspector.capture.errors import InputError
from inspector.readers.source import Source


def walk_forward(source: Source, base: int) -> tuple[list[Any], list[InputError]]:
    """Sections and faults of a stream without description."""
    return [], [InputError(source.name, "a description behind the stream", "none", base)]
