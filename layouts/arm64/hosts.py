"""Bare ID registers of arm64 CPUs, as read at EL2: what a host has under the kernel's view of it.

Data: ``data/hosts.jsonl``, of emulated CPUs (QEMU 11). A register that is null is UNDEFINED there.
"""

from __future__ import annotations

from collections.abc import Mapping

from layouts.arm64.ids import PMCR, encoding_of_op
from layouts.by_name import ByName
from layouts.data import data_table
from layouts.light import TYPE_CHECKING, NamedTuple, cache, lru_cache

if TYPE_CHECKING:
    from typing import Any

#: PMCR_EL0 of these CPUs, which was not read with the others: QEMU's target/arm/tcg/cpu64.c (reset_pmcr_el0).
_PMCR = {
    "max": 0x41013000,
    "a64fx": 0x46014040,
    "cortex-a35": 0x410A3000,
    "cortex-a53": 0x41033000,
    "cortex-a55": 0x410B3000,
    "cortex-a57": 0x41013000,
    "cortex-a72": 0x41023000,
    "cortex-a76": 0x410B3000,
    "cortex-a710": 0xA000,
    "neoverse-n1": 0x410C3000,
    "neoverse-n2": 0xA000,
    "neoverse-v1": 0x41213000,
}


class BareHost(NamedTuple):
    """One CPU's ID registers by encoding, its SVE vector lengths in bytes, and CCSIDR_EL1 by CSSELR_EL1."""

    name: str
    registers: dict[int, int]
    sve_vl_bytes: tuple[int, ...]
    ccsidr: Mapping[int, int] = {}


@lru_cache(1 << 13)
def encoding_of_text(text: str) -> int:
    """The encoding of ``op0_op1_crn_crm_op2``. Raises ValueError."""
    op0, op1, crn, crm, op2 = (int(part) for part in text.split("_"))
    return encoding_of_op((op0, op1, crn, crm, op2))


@cache
def bare_hosts() -> ByName[BareHost]:
    """The CPUs by name (``neoverse-v1``, ``max,sve-max-vq=3``, ``max,mte=on``)."""
    table = data_table("arm64/data/hosts.jsonl")
    entries = {entry["cpu"] + (",mte=on" if entry["mte"] == "on" else ""): entry for entry in table}
    return ByName(entries, lambda name: _bare_host(name, entries[name]))


def _bare_host(name: str, entry: dict[str, Any]) -> BareHost:
    registers = {encoding_of_text(key): int(value, 16) for key, value in entry["regs"].items() if value is not None}
    ccsidr = {int(selector): int(value, 16) for selector, value in entry["ccsidr"].items()}
    registers[PMCR] = _PMCR[entry["cpu"].split(",")[0]]
    return BareHost(name, registers, tuple(entry["sve_vls"]), ccsidr)
