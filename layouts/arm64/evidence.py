"""What in a vCPU's state shows that its guest uses a feature of its ID registers, as data.

By register and field; a row is the system register that turns it on, its bits, and how they are called.

Source: Arm ARM, SCTLR_EL1, TCR_EL1, CPACR_EL1 (the feature that each field needs is named there).
"""

from __future__ import annotations

from layouts.arm64.ids import encoding_of_op
from layouts.light import NamedTuple


class Use(NamedTuple):
    """A system register by its encoding and name, bits of it, and how these are called."""

    encoding: int
    register: str
    mask: int
    called: str


_SCTLR, _CPACR, _TCR = (encoding_of_op(op) for op in ((3, 0, 1, 0, 0), (3, 0, 1, 0, 2), (3, 0, 2, 0, 2)))


def _sctlr(mask: int, called: str) -> Use:
    return Use(_SCTLR, "SCTLR_EL1", mask, called)


def _tcr(mask: int, called: str) -> Use:
    return Use(_TCR, "TCR_EL1", mask, called)


_PAUTH = _sctlr(1 << 31 | 1 << 30 | 1 << 27 | 1 << 13, "SCTLR_EL1.EnIA, EnIB, EnDA or EnDB")
_SVE = Use(_CPACR, "CPACR_EL1", 3 << 16, "CPACR_EL1.ZEN")
_SME = Use(_CPACR, "CPACR_EL1", 3 << 24, "CPACR_EL1.SMEN")

USES: dict[tuple[str, str], Use] = {
    **{("ID_AA64ISAR1_EL1", field): _PAUTH for field in ("APA", "API", "GPA", "GPI")},
    **{("ID_AA64ISAR2_EL1", field): _PAUTH for field in ("APA3", "GPA3")},
    ("ID_AA64PFR0_EL1", "SVE"): _SVE,
    ("ID_AA64PFR1_EL1", "SME"): _SME,
    ("ID_AA64PFR1_EL1", "BT"): _sctlr(3 << 35, "SCTLR_EL1.BT0 or BT1"),
    ("ID_AA64PFR1_EL1", "MTE"): _sctlr(3 << 42, "SCTLR_EL1.ATA or ATA0"),
    ("ID_AA64PFR1_EL1", "SSBS"): _sctlr(1 << 44, "SCTLR_EL1.DSSBS"),
    ("ID_AA64ISAR2_EL1", "MOPS"): _sctlr(1 << 33, "SCTLR_EL1.MSCEn"),
    ("ID_AA64MMFR1_EL1", "HAFDBS"): _tcr(3 << 39, "TCR_EL1.HA or HD"),
    ("ID_AA64MMFR1_EL1", "HPDS"): _tcr(3 << 41, "TCR_EL1.HPD0 or HPD1"),
    ("ID_AA64MMFR2_EL1", "E0PD"): _tcr(3 << 55, "TCR_EL1.E0PD0 or E0PD1"),
    ("ID_AA64MMFR0_EL1", "ASIDBITS"): _tcr(1 << 36, "TCR_EL1.AS"),
}
