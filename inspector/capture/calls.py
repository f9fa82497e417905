"""System calls and events that a log tells of, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: What a log prints of an argument: a number, flags or a string as they stand, members by name, elements.
#: ``None`` is what it leaves out (``...``).
Printed = int | str | None | Mapping[str, "Printed"] | Sequence["Printed"]


class Call(NamedTuple):
    """A call: ``who`` made it (a thread's number, empty if the log does not say), of what (a descriptor; -1: none).

    ``name`` is the request's (``KVM_SET_CPUID2``) or the event's, ``text`` what the log prints behind it, ``given``
    the same taken apart. ``result`` is None where the log does not say; ``error`` is the errno's name. ``offset`` is
    that of its line in the log, in bytes.
    """

    offset: int
    who: str
    descriptor: int
    name: str
    text: str
    given: Printed = None
    result: int | None = None
    error: str = ""

    @property
    def answer(self) -> str:
        """What came of it, as the log says it: ``0``, ``EINVAL``, or a question mark."""
        return self.error or ("?" if self.result is None else str(self.result))
