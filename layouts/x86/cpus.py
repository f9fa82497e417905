"""CPUID leaf 0xD of real CPUs: where each of them puts its XSAVE components.

The tables are data (``data/cpus.json``), each with the dump it was read from. A new CPU is
one more entry there. The models of a signature are those of arch/x86/include/asm/intel-family.h
and of bsp_init_amd (arch/x86/kernel/cpu/amd.c), Linux 7.2.
"""

from __future__ import annotations

from layouts.data import data_table
from layouts.light import TYPE_CHECKING, cache
from layouts.vocabulary import CpuLayout, Signature

if TYPE_CHECKING:
    from typing import Any

_ANY_STEPPING = "0-15"


def _four(values: list[str]) -> tuple[int, int, int, int]:
    eax, ebx, ecx, edx = (int(value, 16) for value in values)
    return eax, ebx, ecx, edx


def _numbers(text: str) -> frozenset[int]:
    """``0x8f``, ``0x30-0x4f 0x71``: numbers and ranges."""
    ranges = (part.partition("-") for part in text.split())
    return frozenset(number for low, _, high in ranges for number in range(int(low, 0), int(high or low, 0) + 1))


def _signature(entry: dict[str, Any] | None) -> Signature | None:
    if entry is None:
        return None
    steppings = _numbers(entry.get("steppings", _ANY_STEPPING))
    return Signature(entry["vendor"], int(entry["family"], 16), _numbers(entry["models"]), steppings)


@cache
def cpu_layouts() -> dict[str, CpuLayout]:
    """All CPU layouts by name (``sapphire-rapids``, ``zen5``, ...)."""
    table = data_table("x86/data/cpus.json")
    return {
        name: CpuLayout(
            name,
            entry["title"],
            entry["about"],
            entry["source"],
            _signature(entry.get("signature")),
            {int(subleaf): _four(values) for subleaf, values in entry["leaf_0xd"].items()},
        )
        for name, entry in table.items()
    }
