"""What was asked again about a verdict. A text, a document and a screen ask for the same, and it is asked once."""

from __future__ import annotations

from typing import NamedTuple

from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.calls import Restored


class Remedied(NamedTuple):
    """A change that was tried: the bit is not in the way any more, and no other came into it."""

    helps: bool
    still: tuple[Difference, ...] = ()


class Again:
    """The answers so far: of changes by the bit that they are for, of whole restores by the kernel."""

    def __init__(self) -> None:
        self.remedied: dict[Difference, Remedied] = {}
        self.on_kernel: dict[str, Restored] = {}
