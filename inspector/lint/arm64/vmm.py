"""A07xx: what one VMM loses or refuses of such a state."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.lint.registry import Hit, check
from inspector.lint.state import State


@check("A0701")
def cloud_hypervisor_sve(state: State) -> Iterator[Hit]:
    """A vCPU with SVE."""
    if state.field("sve.vls") or state.number("id.ID_AA64PFR0_EL1.SVE"):
        yield Hit("sve.vls", "the vCPU has SVE")
