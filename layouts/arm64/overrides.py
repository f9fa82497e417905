"""Words of the kernel's command line that change what it takes the CPUs' ID registers for.

Source: Linux 7.2 arch/arm64/kernel/pi/idreg-override.c (aliases, and the fields of its ftr_set_desc tables);
``kvm-arm.mode`` in arch/arm64/kvm/arm.c.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Override(NamedTuple):
    """A field of 4 bits, as (encoding, lsb), and the value that it gets."""

    encoding: int
    lsb: int
    value: int


_PFR0, _PFR1, _ISAR1, _ISAR2, _MMFR0, _MMFR1, _MMFR2 = 0xC020, 0xC021, 0xC031, 0xC032, 0xC038, 0xC039, 0xC03A
#: By the name that the command line has for it.
_FIELDS = {
    "id_aa64mmfr0.ecv": (_MMFR0, 60),
    "id_aa64mmfr1.vh": (_MMFR1, 8),
    "id_aa64mmfr2.varange": (_MMFR2, 16),
    "id_aa64pfr0.sve": (_PFR0, 32),
    "id_aa64pfr0.el0": (_PFR0, 0),
    "id_aa64pfr0.mpam": (_PFR0, 40),
    "id_aa64pfr1.bt": (_PFR1, 0),
    "id_aa64pfr1.gcs": (_PFR1, 44),
    "id_aa64pfr1.mte": (_PFR1, 8),
    "id_aa64pfr1.sme": (_PFR1, 24),
    "id_aa64pfr1.mpam_frac": (_PFR1, 16),
    "id_aa64isar1.gpi": (_ISAR1, 28),
    "id_aa64isar1.gpa": (_ISAR1, 24),
    "id_aa64isar1.api": (_ISAR1, 8),
    "id_aa64isar1.apa": (_ISAR1, 4),
    "id_aa64isar2.gpa3": (_ISAR2, 8),
    "id_aa64isar2.apa3": (_ISAR2, 12),
    "id_aa64isar2.mops": (_ISAR2, 16),
}
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
                found.append(Override(*_FIELDS[match[1]], int(match[2], 0) & 0xF))
    return found
