"""RES0 and RES1 bits of what a guest's EL2 controls, by kernel release: which feature each bit needs.

Data: ``data/el2_masks.json``, read from the source of each release: arch/arm64/kvm/nested.c (kvm_init_nv_sysregs),
config.c (the ``*_feat_map`` tables and the functions that they name), arch/arm64/tools/sysreg (RES0, RES1). A kernel
that is ``like`` another says which registers differ; conditions that are otherwise than in the table are its own.

A condition is fields of ID registers as ``ID_AA64MMFR2_EL1.NV>=2 or ... and ...`` (``or`` binds tighter), ``signed``
before one whose top bit is a sign. ``pauth>=N``: exactly one algorithm of pointer authentication, at N or more, with
its generic part (kvm_has_pauth). ``never``: no guest of the release has it.
"""

from __future__ import annotations

from layouts.arm64 import kvm_ids
from layouts.data import data_table
from layouts.light import TYPE_CHECKING, NamedTuple, cache

if TYPE_CHECKING:
    from typing import Any

NEVER, PAUTH = "never", "pauth>="


class Needed(NamedTuple):
    """Bits that need a feature, and what they are without: 0, or 1 (``res1``), or 1 by HCR_EL2.E2H.

    ``condition``: see the module. ``vhe``: they also need that E2H is 1 (REQUIRES_E2H1). ``otherwise``: empty for 0,
    ``res1``, ``e2h0`` or ``e2h1``: 1 where E2H is always 0, always 1 (RES1_WHEN_E2H0, RES1_WHEN_E2H1).
    """

    mask: int
    condition: str
    otherwise: str
    vhe: bool


class El2Register(NamedTuple):
    """A register: bits that are always 0 or 1, and bits that need a feature.

    ``needs`` is what the register as a whole needs (empty: nothing); without it the bits of ``whole`` are 0.
    """

    needs: str
    whole: int
    res0: int
    res1: int
    bits: tuple[Needed, ...]


@cache
def el2_registers(release: str) -> dict[int, El2Register]:
    """The registers that a release sanitises, by encoding; none before 6.16, whose guests have no EL2."""
    tables = {entry["name"]: entry for entry in _data()["kernels"]}
    rows: dict[str, Any] = {}
    chain = [release] if release in tables else []
    while chain and "like" in tables[chain[-1]]:
        chain.append(tables[chain[-1]]["like"])
    for name in reversed(chain):
        rows |= tables[name].get("registers", {})
    conditions = _data()["conditions"] | (tables[release].get("conditions", {}) if chain else {})
    return {_encoding(name): _register(row, conditions) for name, row in rows.items()}


@cache
def _data() -> dict[str, Any]:
    found: dict[str, Any] = data_table("arm64/data/el2_masks.json")
    return found


def _encoding(name: str) -> int:
    register_id = kvm_ids.id_of_name(name)
    assert register_id is not None
    return register_id.encoding


def _register(row: dict[str, Any], conditions: dict[str, str]) -> El2Register:
    bits = tuple(_needed(text, conditions) for text in row.get("bits", ()))
    needs = conditions[row["needs"]] if "needs" in row else ""
    res0, res1 = int(row.get("res0", "0"), 16), int(row.get("res1", "0"), 16)
    whole = int(row["whole"], 16) if "whole" in row else ~(res0 | res1) & (1 << 64) - 1
    return El2Register(needs, whole, res0, res1, bits)


def _needed(text: str, conditions: dict[str, str]) -> Needed:
    """``0x6000 res1 vhe: FEAT_ExS``."""
    left, _, name = text.partition(": ")
    mask, *words = left.split()
    otherwise = next((word for word in words if word != "vhe"), "")
    return Needed(int(mask, 16), conditions.get(name, NEVER), otherwise, "vhe" in words)
