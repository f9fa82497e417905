"""Words of ``Features`` in /proc/cpuinfo: which ID register field each shows, and from which value on.

Source: Linux arch/arm64/kernel/cpufeature.c (arm64_elf_hwcaps), cpuinfo.c (hwcap_str), include/uapi/asm/hwcap.h.
"""

from __future__ import annotations

from layouts.light import NamedTuple


class Hwcap(NamedTuple):
    """A word: it is there where the field is at least ``value``. Without a register it shows no field."""

    word: str
    register: str = ""
    field: str = ""
    value: int = 0


_ISAR0, _ISAR1, _ISAR2, _ISAR3 = (f"ID_AA64ISAR{number}_EL1" for number in range(4))
_PFR0, _PFR1, _PFR2, _ZFR0 = "ID_AA64PFR0_EL1", "ID_AA64PFR1_EL1", "ID_AA64PFR2_EL1", "ID_AA64ZFR0_EL1"
_MMFR0, _MMFR1, _MMFR2 = "ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1"

#: In the order in which the kernel prints them: a kernel that prints a word knows all before it.
HWCAPS = (
    Hwcap("fp", _PFR0, "FP", 0),
    Hwcap("asimd", _PFR0, "AdvSIMD", 0),
    Hwcap("evtstrm"),
    Hwcap("aes", _ISAR0, "AES", 1),
    Hwcap("pmull", _ISAR0, "AES", 2),
    Hwcap("sha1", _ISAR0, "SHA1", 1),
    Hwcap("sha2", _ISAR0, "SHA2", 1),
    Hwcap("crc32", _ISAR0, "CRC32", 1),
    Hwcap("atomics", _ISAR0, "ATOMIC", 2),
    Hwcap("fphp", _PFR0, "FP", 1),
    Hwcap("asimdhp", _PFR0, "AdvSIMD", 1),
    Hwcap("cpuid"),
    Hwcap("asimdrdm", _ISAR0, "RDM", 1),
    Hwcap("jscvt", _ISAR1, "JSCVT", 1),
    Hwcap("fcma", _ISAR1, "FCMA", 1),
    Hwcap("lrcpc", _ISAR1, "LRCPC", 1),
    Hwcap("dcpop", _ISAR1, "DPB", 1),
    Hwcap("sha3", _ISAR0, "SHA3", 1),
    Hwcap("sm3", _ISAR0, "SM3", 1),
    Hwcap("sm4", _ISAR0, "SM4", 1),
    Hwcap("asimddp", _ISAR0, "DP", 1),
    Hwcap("sha512", _ISAR0, "SHA2", 2),
    Hwcap("sve", _PFR0, "SVE", 1),
    Hwcap("asimdfhm", _ISAR0, "FHM", 1),
    Hwcap("dit", _PFR0, "DIT", 1),
    Hwcap("uscat", _MMFR2, "AT", 1),
    Hwcap("ilrcpc", _ISAR1, "LRCPC", 2),
    Hwcap("flagm", _ISAR0, "TS", 1),
    Hwcap("ssbs", _PFR1, "SSBS", 2),
    Hwcap("sb", _ISAR1, "SB", 1),
    # One of three algorithms: which, the words do not tell.
    Hwcap("paca"),
    Hwcap("pacg"),
    Hwcap("dcpodp", _ISAR1, "DPB", 2),
    Hwcap("sve2", _ZFR0, "SVEver", 1),
    Hwcap("sveaes", _ZFR0, "AES", 1),
    Hwcap("svepmull", _ZFR0, "AES", 2),
    Hwcap("svebitperm", _ZFR0, "BitPerm", 1),
    Hwcap("svesha3", _ZFR0, "SHA3", 1),
    Hwcap("svesm4", _ZFR0, "SM4", 1),
    Hwcap("flagm2", _ISAR0, "TS", 2),
    Hwcap("frint", _ISAR1, "FRINTTS", 1),
    Hwcap("svei8mm", _ZFR0, "I8MM", 1),
    Hwcap("svef32mm", _ZFR0, "F32MM", 1),
    Hwcap("svef64mm", _ZFR0, "F64MM", 1),
    Hwcap("svebf16", _ZFR0, "BF16", 1),
    Hwcap("i8mm", _ISAR1, "I8MM", 1),
    Hwcap("bf16", _ISAR1, "BF16", 1),
    Hwcap("dgh", _ISAR1, "DGH", 1),
    Hwcap("rng", _ISAR0, "RNDR", 1),
    Hwcap("bti", _PFR1, "BT", 1),
    Hwcap("mte", _PFR1, "MTE", 2),
    Hwcap("ecv", _MMFR0, "ECV", 1),
    Hwcap("afp", _MMFR1, "AFP", 1),
    Hwcap("rpres", _ISAR2, "RPRES", 1),
    Hwcap("mte3", _PFR1, "MTE", 3),
    Hwcap("wfxt", _ISAR2, "WFxT", 2),
    Hwcap("ebf16", _ISAR1, "BF16", 2),
    Hwcap("sveebf16", _ZFR0, "BF16", 2),
    Hwcap("cssc", _ISAR2, "CSSC", 1),
    Hwcap("rprfm", _ISAR2, "RPRFM", 1),
    Hwcap("sve2p1", _ZFR0, "SVEver", 2),
    Hwcap("mops", _ISAR2, "MOPS", 1),
    Hwcap("hbc", _ISAR2, "BC", 1),
    Hwcap("lrcpc3", _ISAR1, "LRCPC", 3),
    Hwcap("lse128", _ISAR0, "ATOMIC", 3),
    Hwcap("fpmr", _PFR2, "FPMR", 1),
    Hwcap("lut", _ISAR2, "LUT", 1),
    Hwcap("faminmax", _ISAR3, "FAMINMAX", 1),
)
#: Words that a configuration, a boot parameter or a workaround hides, so that without them nothing is known.
HIDEABLE = frozenset(("ssbs", "paca", "pacg", "bti", "mte", "mte3", "evtstrm", "cpuid"))
POINTER_AUTHENTICATION = frozenset(("paca", "pacg"))


def is_shown_to_programs(mmfr0: int) -> bool:
    """ID_AA64MMFR0_EL1 without a translation granule is no CPU's: Linux emulates MRS so (cpufeature.c, emulate_mrs)."""
    return mmfr0 >> 20 & 0xFFF == 0xFF0
