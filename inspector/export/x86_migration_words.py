"""What is said of one bit of an x86 migration: the words that change it."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.export.x86_lines import VMMS as LINES
from inspector.export.x86_lines import msr_remedies, remedies
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.remedy import features_of, helps
from inspector.machine.x86.migrate.verdict import Migration


def remedies_of(made: Migration, bit: Difference) -> dict[str, str]:
    """The smallest change for one bit in the words of each VMM, each of which was applied and asked again.

    Empty where a VMM has no word for it, and where the change does not help.
    """
    lines = words_for(bit) if bit.blocks and helps(made, bit) else {}
    return {vmm: lines.get(vmm, "") for vmm in LINES}


def words_for(bit: Difference) -> Mapping[str, str]:
    """The words that turn off what is behind a bit, tried or not; empty where there are none."""
    place = bit.place
    if place.kind == "msr":
        return msr_remedies(place.at, place.low) if bit.rule == "and" else {}
    lines: dict[str, str] = {}
    for feature in features_of(bit):
        for vmm, line in remedies(feature).items():
            lines.setdefault(vmm, line)
    return lines
