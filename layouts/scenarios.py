"""Every scenario, of both architectures."""

from __future__ import annotations

from layouts.arm64 import scenarios as arm64
from layouts.scenario import Scenario
from layouts.x86 import scenarios as x86


def scenarios() -> dict[str, Scenario]:
    """Scenarios by name."""
    return {**x86.scenarios(), **arm64.scenarios()}
