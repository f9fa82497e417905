"""What sensibly comes next after an event that did not go well: the steps of ``layouts.x86.next_steps`` that fit."""

from __future__ import annotations

from typing import Any

from inspector.machine.events import number
from inspector.machine.offers import Offer, fitting
from inspector.machine.world import WorldStep
from inspector.machine.x86.world.state import VcpuState
from inspector.machine.x86.world.toggle import xcr0_whole
from layouts.x86.kernels import kernels
from layouts.x86.next_steps import NEXT_STEPS
from layouts.x86.xsave import XTILE


def offers(step: WorldStep[Any], vcpu: VcpuState | None) -> list[Offer]:
    """The steps that fit an answer, with the vCPU as it is now. None where all is well."""
    allowed = vcpu.allowed if vcpu is not None else 0
    xcr0 = vcpu.xcr0 if vcpu is not None else 0
    words = {"tiles": f"{xcr0 | XTILE | 1:#x}", "xcr0": _asked(step.event)}
    return list(fitting((one for one in NEXT_STEPS if not one.with_cpuid & ~allowed), step, words, kernels()))


def _asked(event: str) -> str:
    """The XCR0 of an XSETBV, with what goes with it."""
    words = [word for word in event.split() if "=" not in word]
    value = words[2] if words[:2] == ["guest", "xsetbv"] else "0"
    return f"{xcr0_whole(number(value)):#x}"
