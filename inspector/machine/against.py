"""The same events in another world: what cannot happen there is told, and the others go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from inspector.machine.events import EventError
from inspector.machine.world import BaseWorld, WorldStep

_DOWN = "the host is down"


class Happened(NamedTuple):
    """An event in a world; no step where it cannot happen there, and ``why``."""

    event: str
    step: WorldStep[Any] | None
    why: str = ""


def happened(world: BaseWorld[Any], events: Iterable[str]) -> Iterator[Happened]:
    """Let events happen, each that can."""
    for event in events:
        if world.is_down:
            yield Happened(event, None, _DOWN)
            continue
        try:
            yield Happened(event, world.happen(event))
        except EventError as error:
            yield Happened(event, None, error.why)
