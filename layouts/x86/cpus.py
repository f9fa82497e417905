"""CPUID leaf 0xD of real CPUs: where each of them puts its XSAVE components.

The tables are data (``data/cpus.json``), each with the dump it was read from. A new CPU is
one more entry there.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from layouts.vocabulary import CpuLayout


def _four(values: list[str]) -> tuple[int, int, int, int]:
    eax, ebx, ecx, edx = (int(value, 16) for value in values)
    return eax, ebx, ecx, edx


@cache
def cpu_layouts() -> dict[str, CpuLayout]:
    """All CPU layouts by name (``sapphire-rapids``, ``zen5``, ...)."""
    table = json.loads(files("layouts.x86").joinpath("data/cpus.json").read_text("utf-8"))
    return {
        name: CpuLayout(
            name,
            entry["title"],
            entry["about"],
            entry["source"],
            {int(subleaf): _four(values) for subleaf, values in entry["leaf_0xd"].items()},
        )
        for name, entry in table.items()
    }
