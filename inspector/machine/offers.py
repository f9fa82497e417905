"""What sensibly comes next after an event that did not go well: the steps of a table that fit the answer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from inspector.machine.world import WorldStep
from layouts.kernels import release_numbers
from layouts.light import NamedTuple
from layouts.next_step import NextStep

UNDO, FIRST, PLACE = "undo", "first ", "place "
#: Words of an event that say where it happens.
_WHERE = ("vcpu=", "cpu=", "host=", "vm=", "thread=")


class Offer(NamedTuple):
    """Steps that can be made, in order, and what they do; ``source`` says why."""

    steps: tuple[str, ...]
    text: str
    source: str


def fitting(
    table: Iterable[NextStep], step: WorldStep[Any], words: Mapping[str, str], kernels: Collection[str]
) -> Iterator[Offer]:
    """The entries that fit an answer. ``words`` stand for what is in braces, ``kernels`` have profiles."""
    outcome = step.outcome
    failed = next((check.text for check in outcome.checks if not check.held), "")
    where = [word for word in step.event.split() if word.startswith(_WHERE)]
    said = " ".join(word for word in step.event.split() if word not in where)
    for one in table:
        event, because = re.search(one.event, said), re.search(one.because, failed)
        if not failed or event is None or because is None or not re.fullmatch(one.answer, outcome.name):
            continue
        found = {name: value or "" for name, value in (event.groupdict() | because.groupdict()).items()}
        found |= {"again": step.event, **words}
        if "release" in found:
            found["release"] = _first_kernel(found["release"], kernels)
        steps = (_at(text.format_map(found), where if text != "{again}" else []) for text in one.steps)
        yield Offer(tuple(steps), one.text, one.source)


def _first_kernel(release: str, kernels: Collection[str]) -> str:
    """The first kernel with a profile of its own that is not older."""
    wanted = release_numbers(release) or (0, 0)
    return next((name for name in kernels if (release_numbers(name) or (0, 0)) >= wanted), release)


def _at(step: str, where: Sequence[str]) -> str:
    """A step where the event was, of a vCPU or a program; one that names its VM is of another, on the same host."""
    if not step.startswith(("guest ", "KVM_", "process ")):
        return step
    return " ".join((step, *(word for word in where if " vm=" not in step or word.startswith("host="))))
