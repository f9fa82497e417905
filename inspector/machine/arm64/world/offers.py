"""What sensibly comes next after an event that did not go well: the steps of ``layouts.arm64.next_steps`` that fit."""

from __future__ import annotations

from typing import Any

from inspector.machine.offers import Offer, fitting
from inspector.machine.world import WorldStep
from layouts.arm64.kernels import kernels
from layouts.arm64.next_steps import NEXT_STEPS


def offers(step: WorldStep[Any]) -> list[Offer]:
    """The steps that fit an answer. None where all is well."""
    return list(fitting(NEXT_STEPS, step, {}, kernels()))
