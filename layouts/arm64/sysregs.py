"""AArch64 system registers: name and encoding both ways, fields, ID register fields with values.

``data/sysregs.json``: names and encodings as Linux 7.2 knows them (``arch/arm64/tools/sysreg``,
``include/asm/sysreg.h``), completed from the Arm ARM for registers of EL3 and others that only QEMU
lists; ``data/sysreg_fields.json``: where their fields lie. ``data/idregs.json``: the ID registers, all
64 bits of each, with named values and the kernel's sanitise policy.
"""

from __future__ import annotations

from layouts.arm64.features import feature_of
from layouts.arm64.ids import Op
from layouts.arm64.registers import REGISTERS
from layouts.data import data_table
from layouts.light import TYPE_CHECKING, cache
from layouts.vocabulary import Bits, Register

if TYPE_CHECKING:
    from typing import Any

SOURCE = "Arm ARM (DDI 0487), D24; Linux 7.2 arch/arm64/tools/sysreg"


def _load(name: str) -> Any:
    return data_table(f"arm64/data/{name}")


@cache
def encodings() -> dict[str, Op]:
    """All known registers: name -> (op0, op1, CRn, CRm, op2)."""
    return {name: tuple(op) for name, op in _load("sysregs.json").items()}


@cache
def _names() -> dict[Op, str]:
    return {op: name for name, op in encodings().items()}


def name_of(op: Op) -> str:
    """The register's Arm name, or ``S3_0_C1_C2_3`` when it has none here."""
    return _names().get(op) or "S{}_{}_C{}_C{}_{}".format(*op)


def encoding_of(name: str) -> Op | None:
    """The encoding of a register name (any case) or of ``S3_0_C1_C2_3``."""
    found = encodings().get(name)
    if found is not None:
        return found
    generic = _encoding_of_generic(name)
    if generic is not None:
        return generic
    lower = name.lower()
    return next((op for known, op in encodings().items() if known.lower() == lower), None)


def _encoding_of_generic(name: str) -> Op | None:
    """``S3_0_C1_C2_3``: one digit each for op0, op1 and op2."""
    words = name.upper().split("_")
    if len(words) != 5 or (words[0][:1], words[2][:1], words[3][:1]) != ("S", "C", "C"):
        return None
    op0, op1, crn, crm, op2 = words[0][1:], words[1], words[2][1:], words[3][1:], words[4]
    digits = op0 + op1 + crn + crm + op2
    if len(op0) != 1 or len(op1) != 1 or len(op2) != 1 or not crn or not crm:
        return None
    if not (digits.isascii() and digits.isdecimal()):
        return None
    return int(op0), int(op1), int(crn), int(crm), int(op2)


@cache
def id_registers() -> dict[str, dict[str, Any]]:
    """The ID registers by name, as in ``data/idregs.json``."""
    return {entry["name"]: entry for entry in _load("idregs.json")}


@cache
def _field_tables() -> dict[str, list[Any]]:
    fields: dict[str, list[Any]] = _load("sysreg_fields.json")
    return fields


@cache
def register_of(name: str) -> Register | None:
    """The bit fields of a register, or None when nothing is known of its bits."""
    if name in REGISTERS:
        return REGISTERS[name]
    if name in id_registers():
        return _id_register(name)
    rows = _field_tables().get(name)
    if not rows:
        return None
    bits = tuple(
        Bits(row[0], row[1], row[2], "", {int(value): text for value, text in (row[3] if len(row) > 3 else {}).items()})
        for row in rows
    )
    return Register(name, "system register", bits, SOURCE)


def _id_register(name: str) -> Register:
    bits = []
    for field in reversed(id_registers()[name]["fields"]):
        if field["name"] is None:
            continue
        policy = field.get("sanitise")
        meaning = f"{policy['policy']} is safe" if policy else "not sanitised"
        if field.get("signed"):
            meaning += ", signed"
        values = {}
        for value, text in field.get("values", {}).items():
            feature = feature_of(name, field["name"], int(value))
            values[int(value)] = f"{text} ({feature})" if feature else text
        bits.append(Bits(field["name"], field["lsb"], field["width"], meaning, values))
    return Register(name, "ID register", tuple(bits), SOURCE)
