"""Words of the kernel's command line that change what it takes the CPUs' ID registers for.

Source: Linux 7.2 arch/arm64/kernel/pi/idreg-override.c (aliases, and the fields of its ftr_set_desc tables);
``kvm-arm.mode`` in arch/arm64/kvm/arm.c.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from layouts.arm64.properties import FieldPlace, field_places
from layouts.light import cache


class Override(NamedTuple):
    """A field of an ID register, and the value that it gets."""

    place: FieldPlace
    value: int


#: The fields, as the command line names them: the register without ``_el1``, and the field.
_FIELDS = (
    "id_aa64mmfr0.ecv",
    "id_aa64mmfr1.vh",
    "id_aa64mmfr2.varange",
    "id_aa64pfr0.sve",
    "id_aa64pfr0.el0",
    "id_aa64pfr0.mpam",
    "id_aa64pfr1.bt",
    "id_aa64pfr1.gcs",
    "id_aa64pfr1.mte",
    "id_aa64pfr1.sme",
    "id_aa64pfr1.mpam_frac",
    "id_aa64isar1.gpi",
    "id_aa64isar1.gpa",
    "id_aa64isar1.api",
    "id_aa64isar1.apa",
    "id_aa64isar2.gpa3",
    "id_aa64isar2.apa3",
    "id_aa64isar2.mops",
)
_ALIASES = {
    "kvm_arm.mode=nvhe": ("id_aa64mmfr1.vh=0",),
    "arm64.nosve": ("id_aa64pfr0.sve=0",),
    "arm64.nosme": ("id_aa64pfr1.sme=0",),
    "arm64.nobti": ("id_aa64pfr1.bt=0",),
    "arm64.nogcs": ("id_aa64pfr1.gcs=0",),
    "arm64.nopauth": tuple(
        f"{name}=0"
        for name in _FIELDS
        if name.startswith(("id_aa64isar1.", "id_aa64isar2.")) and not name.endswith("mops")
    ),
    "arm64.nomops": ("id_aa64isar2.mops=0",),
    "arm64.nomte": ("id_aa64pfr1.mte=0",),
    "arm64.nolva": ("id_aa64mmfr2.varange=0",),
    "arm64.no32bit_el0": ("id_aa64pfr0.el0=1",),
    "arm64.nompam": ("id_aa64pfr0.mpam=0", "id_aa64pfr1.mpam_frac=0"),
}
_WORD = re.compile(r"([a-z0-9_.]+)=(0x[0-9a-f]{1,2}|\d{1,2})")
NESTED = "kvm_arm.mode=nested"


def words_of(command_line: str) -> list[str]:
    """The words of a command line, with ``_`` for ``-`` as the kernel compares them."""
    return [word.replace("-", "_") for word in command_line.lower().split()]


def overrides_of(command_line: str) -> list[Override]:
    """The fields that a command line changes."""
    found = []
    for word in words_of(command_line):
        for each in _ALIASES.get(word, (word,)):
            match = _WORD.fullmatch(each)
            if match and match[1] in _FIELDS:
                found.append(Override(_places()[match[1]], int(match[2], 0) & 0xF))
    return found


@cache
def _places() -> dict[str, FieldPlace]:
    return {
        f"{register.removesuffix('_EL1')}.{name}".lower(): place for (register, name), place in field_places().items()
    }
