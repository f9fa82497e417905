"""KVM's dumps of a control block (dump_vmcs, dump_vmcb): what both have in common."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.readers.logs.found import MOST, Found, State
from inspector.readers.named_values import Sized, named_area

#: Longer than any dump: other lines of the log may stand between.
MOST_LINES = 400


def dumped(dumps: Iterable[tuple[str, dict[str, Sized]]], title: str, file: str) -> Found:
    """Each dump that has values as one vCPU, by its name."""
    states: list[State] = []
    for name, values in dumps:
        if values and len(states) < MOST:
            states.append(State(name, "x86", [named_area(values, file, title)]))
    return Found(states)
