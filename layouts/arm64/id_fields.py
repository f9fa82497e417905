"""The fields of ID registers that rules name.

Where each lies is in ``data/idregs.json`` and :mod:`layouts.arm64.registers`. A name here is the register's, as
:mod:`layouts.arm64.ids` has it, and the field's.
"""

from __future__ import annotations

from layouts.arm64.registers import CLIDR, MIDR
from layouts.arm64.sysregs import SOURCE, id_registers, register_of
from layouts.light import cache
from layouts.vocabulary import Bits, Register


@cache
def id_register(name: str) -> Register:
    """An ID register with the places of its fields; what their values are called no rule asks. Raises KeyError."""
    entry = id_registers().get(name)
    if entry is not None:
        bits = [Bits(one["name"], one["lsb"], one["width"]) for one in reversed(entry["fields"]) if one["name"]]
        return Register(name, "ID register", tuple(bits), SOURCE)
    register = register_of(name)
    if register is None:
        raise KeyError(name)
    return register


def _fields(name: str, *fields: str) -> tuple[Bits, ...]:
    register = id_register(name)
    return tuple(register.field(field) for field in fields)


MIDR_PARTNUM, MIDR_IMPLEMENTER = MIDR.field("PartNum"), MIDR.field("Implementer")
CLIDR_LOUIS, CLIDR_LOC, CLIDR_LOUU = CLIDR.field("LoUIS"), CLIDR.field("LoC"), CLIDR.field("LoUU")
#: The caches of level 1 to 7, and which of them hold allocation tags.
CLIDR_CTYPE = tuple(CLIDR.field(f"Ctype{level}") for level in range(1, 8))
CLIDR_TTYPE = tuple(CLIDR.field(f"Ttype{level}") for level in range(1, 8))

CTR_IMINLINE, CTR_L1IP, CTR_DMINLINE, CTR_IDC, CTR_DIC = _fields(
    "CTR_EL0", "IminLine", "L1Ip", "DminLine", "IDC", "DIC"
)

(PFR1_AARCH32_GIC,) = _fields("ID_PFR1_EL1", "GIC")
DFR0_AARCH32_COPDBG, DFR0_AARCH32_PERFMON = _fields("ID_DFR0_EL1", "CopDbg", "PerfMon")

PFR0_EL0, PFR0_EL1, PFR0_EL2, PFR0_EL3 = _fields("ID_AA64PFR0_EL1", "EL0", "EL1", "EL2", "EL3")
PFR0_GIC, PFR0_RAS, PFR0_SVE, PFR0_MPAM = _fields("ID_AA64PFR0_EL1", "GIC", "RAS", "SVE", "MPAM")
PFR0_CSV2, PFR0_CSV3 = _fields("ID_AA64PFR0_EL1", "CSV2", "CSV3")
PFR1_BT, PFR1_SSBS, PFR1_MTE, PFR1_MTE_FRAC = _fields("ID_AA64PFR1_EL1", "BT", "SSBS", "MTE", "MTE_frac")
PFR1_RAS_FRAC, PFR1_MPAM_FRAC = _fields("ID_AA64PFR1_EL1", "RAS_frac", "MPAM_frac")

DFR0_DEBUGVER, DFR0_PMUVER, DFR0_DOUBLELOCK = _fields("ID_AA64DFR0_EL1", "DebugVer", "PMUVer", "DoubleLock")
DFR0_BRPS, DFR0_WRPS = _fields("ID_AA64DFR0_EL1", "BRPs", "WRPs")

ISAR1_APA, ISAR1_API, ISAR1_GPA, ISAR1_GPI = _fields("ID_AA64ISAR1_EL1", "APA", "API", "GPA", "GPI")
ISAR2_APA3, ISAR2_GPA3, ISAR2_CLRBHB, ISAR2_ATS1A = _fields("ID_AA64ISAR2_EL1", "APA3", "GPA3", "CLRBHB", "ATS1A")

MMFR0_PARANGE, MMFR0_TGRAN4 = _fields("ID_AA64MMFR0_EL1", "PARANGE", "TGRAN4")
MMFR0_TGRAN4_2, MMFR0_TGRAN16_2, MMFR0_TGRAN64_2 = _fields("ID_AA64MMFR0_EL1", "TGRAN4_2", "TGRAN16_2", "TGRAN64_2")
MMFR1_ECBHB, MMFR1_HPDS = _fields("ID_AA64MMFR1_EL1", "ECBHB", "HPDS")
MMFR2_NV, MMFR2_FWB, MMFR2_EVT = _fields("ID_AA64MMFR2_EL1", "NV", "FWB", "EVT")
MMFR3_TCRX, MMFR3_S1PIE, MMFR3_S1POE = _fields("ID_AA64MMFR3_EL1", "TCRX", "S1PIE", "S1POE")
(MMFR4_E2H0,) = _fields("ID_AA64MMFR4_EL1", "E2H0")
