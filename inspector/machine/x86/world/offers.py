"""What sensibly comes next after an event that did not go well: the steps of ``layouts.x86.next_steps`` that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from inspector.machine.world import WorldStep
from inspector.machine.x86.world.state import VcpuState
from inspector.machine.x86.world.toggle import xcr0_whole
from layouts.kernels import release_numbers
from layouts.x86.kernels import kernels
from layouts.x86.next_steps import NEXT_STEPS, NextStep
from layouts.x86.xsave import XTILE

UNDO, FIRST, PLACE = "undo", "first ", "place "


class Offer(NamedTuple):
    """Steps that can be made, in order, and what they do; ``source`` says why."""

    steps: tuple[str, ...]
    text: str
    source: str


def offers(step: WorldStep[Any], vcpu: VcpuState | None) -> list[Offer]:
    """The steps that fit an answer, with the vCPU as it is now. None where all is well."""
    allowed = vcpu.allowed if vcpu is not None else 0
    fitting = (one for one in NEXT_STEPS if not one.with_cpuid & ~allowed)
    return [offer for one in fitting for offer in _fitting(one, step, vcpu.xcr0 if vcpu is not None else 0)]


def _fitting(one: NextStep, step: WorldStep[Any], xcr0: int) -> Iterator[Offer]:
    outcome = step.outcome
    failed = next((check.text for check in outcome.checks if not check.held), "")
    event, because = re.search(one.event, step.event), re.search(one.because, failed)
    if not failed or event is None or because is None or not re.fullmatch(one.answer, outcome.name):
        return
    words = {name: value or "" for name, value in (event.groupdict() | because.groupdict()).items()}
    words |= {"again": step.event, "tiles": f"{xcr0 | XTILE | 1:#x}", "xcr0": _asked(step.event)}
    if "release" in words:
        words["release"] = _first_kernel(words["release"])
    where = " ".join(word for word in step.event.split() if word.startswith(("vcpu=", "cpu=")))
    steps = (_at(text.format_map(words), where if text != "{again}" else "") for text in one.steps)
    yield Offer(tuple(steps), one.text, one.source)


def _asked(event: str) -> str:
    """The XCR0 of an XSETBV, with what goes with it."""
    value = event.split()[2] if event.startswith("guest xsetbv ") else "0"
    return f"{xcr0_whole(int(value, 0)):#x}"


def _first_kernel(release: str) -> str:
    """The first kernel with a profile of its own that is not older."""
    wanted = release_numbers(release) or (0, 0)
    return next((name for name in kernels() if (release_numbers(name) or (0, 0)) >= wanted), release)


def _at(step: str, where: str) -> str:
    """A step where the event was, if it is one of a vCPU."""
    return f"{step} {where}" if where and step.startswith(("guest ", "KVM_")) else step
