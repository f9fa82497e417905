"""KVM register ids and encodings: written once, and the same as Arm's names and the kernel's structures have them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from inspector.machine.arm64 import core, sve
from layouts.arm64 import ids
from layouts.arm64.kvm_ids import explain, id_of_name
from layouts.arm64.listed import condition, listed
from layouts.arm64.sysregs import name_of

ROOT = Path(__file__).parents[2]
#: Encodings by the name that rules have for them; Arm's name is that one with what is left out of it.
ARM_NAMES = {
    **{name: f"ID_AA64{name}_EL1" for name in ("PFR0", "PFR1", "PFR2", "ZFR0", "SMFR0", "DFR0")},
    **{f"ISAR{n}": f"ID_AA64ISAR{n}_EL1" for n in range(4)},
    **{f"MMFR{n}": f"ID_AA64MMFR{n}_EL1" for n in range(5)},
    **{f"{name}_AARCH32": f"ID_{name}_EL1" for name in ("PFR1", "DFR0", "MMFR4")},
    **{name: f"{name}_EL1" for name in ("MIDR", "MPIDR", "REVIDR", "AIDR", "CLIDR", "OSLSR", "ZCR")},
    "CTR": "CTR_EL0",
}


@pytest.mark.parametrize("name", ARM_NAMES)
def test_an_encoding_that_rules_name_is_arms(name: str) -> None:
    encoding = getattr(ids, name)
    assert name_of(ids.op_of_encoding(encoding)) == ARM_NAMES[name]
    assert ids.encoding_of_op(ids.op_of_encoding(encoding)) == encoding
    assert id_of_name(ARM_NAMES[name]) == ids.sysreg_id(encoding)


def test_an_id_is_taken_apart_and_made() -> None:
    made = ids.sysreg_id(ids.PFR0)
    assert (made.architecture, made.size_bytes, made.coprocessor, made.encoding) == (0x60, 8, ids.SYSREG, 0xC020)
    assert made == 0x6030_0000_0013_C020
    assert made.is_sysreg
    assert not ids.RegisterId(0x6020_0000_0013_C020).is_sysreg
    assert (ids.SVE_VLS, ids.SVE_Z0, ids.SVE_P0) == (
        0x6060_0000_0015_FFFF,
        0x6080_0000_0015_0000,
        0x6050_0000_0015_0400,
    )
    assert (ids.PC, ids.V.id(31), ids.CCSIDR) == (0x6030_0000_0010_0040, 0x6040_0000_0010_00D0, 0x6020_0000_0011_0000)
    assert ids.WORKAROUND_3 == 0x6030_0000_0014_0003


def test_masks_tell_of_three_times_64_registers() -> None:
    assert len(ids.FEATURE_IDS) == ids.FEATURE_ID_COUNT == 192
    assert {ids.MIDR, ids.CLIDR, ids.CTR, *ids.IDS} <= ids.FEATURE_IDS
    assert ids.feature_id_encoding(0x40 + 1) == ids.CLIDR
    assert ids.feature_id_encoding(0x80 + 1) == ids.CTR


@pytest.mark.parametrize("has_sve", [False, True])
def test_listed_registers_have_names_of_their_own(has_sve: bool) -> None:
    listed = [*core.register_ids(has_sve=has_sve), *sve.register_ids()]
    assert len({explain(register_id).path for register_id in listed}) == len(listed)
    assert not any(explain(register_id).path.startswith("reg.") for register_id in listed)
    assert len(core.register_ids(has_sve=has_sve)) == (43 if has_sve else 75)


@pytest.mark.parametrize("release", ["5.10", "6.6", "6.12", "7.2"])
def test_one_register_asked_for_is_as_the_list_has_it(release: str) -> None:
    every = dict(listed(release))
    assert {one: condition(release, one) for one in every} == every
    others = [ids.sysreg_id(at) for at in range(0xC000, 0xC100) if ids.sysreg_id(at) not in every]
    assert not any(condition(release, one) for one in others)


#: Where a number may look like an id or an encoding and is none.
OTHER_NUMBERS = {"inspector/machine/arm64/live.py": "ioctl numbers, whose upper half is a size"}
_SHIFTED_ENCODING = re.compile(r"<< 14 \| \w+ << 11|>> 52|>> 16 & 0xFFF")


def _sources() -> list[Path]:
    return [*ROOT.glob("inspector/**/*.py"), *ROOT.glob("layouts/**/*.py")]


def test_ids_and_encodings_are_written_in_one_file() -> None:
    """No id of arm64, no encoding of the ID space and no field of an id outside layouts/arm64/ids.py."""
    found = []
    for path in _sources():
        where = str(path.relative_to(ROOT))
        if where in ("layouts/arm64/ids.py", *OTHER_NUMBERS):
            continue
        text = path.read_text("utf-8")
        found += [f"{where}: {line.strip()}" for line in text.splitlines() if _SHIFTED_ENCODING.search(line)]
        for node in ast.walk(ast.parse(text)):
            number = node.value if isinstance(node, ast.Constant) and type(node.value) is int else 0
            if number >> 56 == 0x60 or (number in ids.IDS and f"{number:#X}"[2:] in text.upper()):
                found.append(f"{where}:{getattr(node, 'lineno', 0)}: {number:#x}")
    assert not found
