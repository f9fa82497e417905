"""What sensibly comes next after an event that did not go well: the steps of ``layouts.arm64.next_steps`` that fit."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from inspector.machine.arm64.world.matrix import FEATURES
from inspector.machine.arm64.world.stage import Node
from inspector.machine.arm64.world.words import FEATURE_NAMES
from inspector.machine.offers import Offer, fitting
from inspector.machine.world import WorldStep
from layouts.arm64.kernels import kernels
from layouts.arm64.next_steps import NEXT_STEPS


def offers(step: WorldStep[Any], node: Node) -> list[Offer]:
    """The steps that fit an answer of a host: its next VM is ``{vm}``. None where all is well."""
    found = fitting(NEXT_STEPS, step, {"vm": str(len(node.vms))}, kernels())
    bits = sum(feature.bits for feature in FEATURES if not feature.is_on(node.host))
    missing = {name for bit, name in enumerate(FEATURE_NAMES) if bits >> bit & 1}
    return [one for one in found if not any(_asks(text, missing) for text in one.steps)]


def _asks(step: str, missing: Set[str]) -> bool:
    """A step that asks for a feature which the host has not."""
    return step.startswith("KVM_ARM_VCPU_INIT") and not missing.isdisjoint(step.split())
