"""ID registers of guests that have EL2: what KVM's nested virtualization takes away.

Source: Linux arch/arm64/kvm/nested.c (limit_nv_id_reg), with host pages of 4 KiB. The rules by the kernel that
has them first; 7.1 and 7.2 have those of 7.0.
"""

from __future__ import annotations

from collections.abc import Callable

from layouts.arm64.id_fields import id_register
from layouts.light import NamedTuple
from layouts.vocabulary import Bits, Register, mask_of, without

_NV2_ONLY, _NO_NV1, _TTL, _HAFDBS_AF, _ECV, _PARANGE_48, _DEBUG_VHE, _DEBUG_V8P8 = 1, 0xE, 1, 1, 1, 5, 7, 10
_NV2P1, _NV3 = 2, 3
#: EL0 to EL3: AArch64 alone. Stage 2 granules: there, whatever stage 1 has.
_AARCH64, _GRANULE = 1, 2


class Nested(NamedTuple):
    """What the rules ask of a guest: the kernel that has its rules first, and KVM_ARM_VCPU_HAS_EL2_E2H0."""

    since: tuple[int, int]
    e2h0: bool


_ISAR1 = id_register("ID_AA64ISAR1_EL1")
_PFR0, _PFR1, _PFR2 = (id_register(f"ID_AA64PFR{n}_EL1") for n in range(3))
_MMFR0, _MMFR1, _MMFR2, _MMFR4 = (id_register(f"ID_AA64MMFR{n}_EL1") for n in (0, 1, 2, 4))
_DFR0 = id_register("ID_AA64DFR0_EL1")
#: Fields that Arm took back: bits without a name today.
_TME, _PFR1_RES0, _MMFR2_RES0 = Bits("TME", 24, 4), Bits("RES0", 20, 4), Bits("RES0", 44, 4)
#: Stage 1 granules, the value that says none, and their stage 2 fields.
_GRANULES = (
    (_MMFR0.field("TGRAN4"), 0xF, _MMFR0.field("TGRAN4_2")),
    (_MMFR0.field("TGRAN16"), 0, _MMFR0.field("TGRAN16_2")),
    (_MMFR0.field("TGRAN64"), 0xF, _MMFR0.field("TGRAN64_2")),
)


def _fields(register: Register, names: str) -> list[Bits]:
    return [register.field(name) for name in names.split()]


def _clear(value: int, register: Register, names: str) -> int:
    return without(value, *_fields(register, names))


def _keep(value: int, register: Register, names: str) -> int:
    return value & mask_of(*_fields(register, names))


def _cap(value: int, bits: Bits, most: int) -> int:
    return bits.put(value, min(bits.get(value), most))


def limit(nested: str, name: str, value: int, *, e2h0: bool) -> int:
    """A register of a guest with EL2, from its value without. ``e2h0``: KVM_ARM_VCPU_HAS_EL2_E2H0."""
    rule = _RULES.get(name)
    if rule is None or not nested:
        return value
    major, minor = nested.split(".")
    return rule(value, Nested((int(major), int(minor)), e2h0))


def most_shown(nested: str, name: str, lsb: int, width: int) -> int:
    """The highest value that a field of a register can have in a guest with EL2, whatever the guest without has."""
    bits = Bits(name, lsb, width)
    return max(bits.get(limit(nested, name, value << lsb, e2h0=False)) for value in range(1 << width))


def _isar0(value: int, guest: Nested) -> int:
    """No TME; since 7.0 the host's register has none either."""
    return _TME.put(value, 0) if guest.since < (7, 0) else value


def _isar1(value: int, _guest: Nested) -> int:
    """No LS64, no SPECRES."""
    return _clear(value, _ISAR1, "LS64 SPECRES")


def _pfr0(value: int, guest: Nested) -> int:
    """AArch64 alone at every level; no RME, AMU, MPAM, SEL2, and on 6.16 no RAS."""
    value = _clear(value, _PFR0, "RME AMU MPAM SEL2")
    for level in _fields(_PFR0, "EL0 EL1 EL2 EL3"):
        value = level.put(value, _AARCH64)
    return _clear(value, _PFR0, "RAS") if guest.since < (6, 17) else value


def _pfr1(value: int, guest: Nested) -> int:
    """No PFAR, MTEX, THE, GCS, MTE, NMI, SME; until 6.17 only BT, SSBS and CSV2_frac."""
    if guest.since < (6, 18):
        return _keep(value, _PFR1, "BT SSBS CSV2_frac")
    return _PFR1_RES0.put(_clear(value, _PFR1, "PFAR MTEX THE GCS MTE_frac NMI SME MPAM_frac MTE"), 0)


def _pfr2(value: int, _guest: Nested) -> int:
    """No GICv5."""
    return _clear(value, _PFR2, "GCIE")


def _mmfr0(value: int, _guest: Nested) -> int:
    """No ExS, SNSMem, CNTPOFF; 48 bits; stage 2 granules are named where the host has them."""
    found = _clear(value, _MMFR0, "EXS TGRAN4_2 TGRAN64_2 TGRAN16_2 SNSMEM")
    found = _cap(_cap(found, _MMFR0.field("ECV"), _ECV), _MMFR0.field("PARANGE"), _PARANGE_48)
    for stage1, none, stage2 in _GRANULES:
        as_stage1 = not stage2.get(value) and stage1.get(value) != none
        if as_stage1 or stage2.get(value) > 1:
            found = stage2.put(found, _GRANULE)
    return found


def _mmfr1(value: int, guest: Nested) -> int:
    """No CMOW, nTLBPA, ETS; HAFDBS and XNX since 6.19; no VHE with E2H0."""
    if guest.since < (6, 18):
        value = _keep(value, _MMFR1, "HCX PAN LO HPDS VH VMIDBits")
    else:
        value = _clear(value, _MMFR1, "CMOW nTLBPA ETS")
        before = guest.since < (6, 19)
        value = _clear(value, _MMFR1, "XNX HAFDBS") if before else _cap(value, _MMFR1.field("HAFDBS"), _HAFDBS_AF)
    return _clear(value, _MMFR1, "VH") if guest.e2h0 else value


def _mmfr2(value: int, _guest: Nested) -> int:
    """No BBM, ST, CCIDX, VARange; TTL always."""
    value = _MMFR2_RES0.put(_clear(value, _MMFR2, "BBM ST CCIDX VARange"), 0)
    return _MMFR2.field("TTL").put(value, _TTL)


def _mmfr4(value: int, guest: Nested) -> int:
    """Either E2H0, or FEAT_NV2 (from 7.3 NV2p1 and NV3 too) without HCR_EL2.NV1."""
    if guest.e2h0:
        return 0
    frac = _MMFR4.field("NV_frac").get(value)
    if guest.since < (7, 3) or not _NV2P1 <= frac < 8:
        frac = _NV2_ONLY
    return _MMFR4.field("E2H0").put(_MMFR4.field("NV_frac").put(0, min(frac, _NV3)), _NO_NV1)


def _dfr0(value: int, guest: Nested) -> int:
    """PMU, debug, breakpoints and watchpoints without context matches; no trace, SPE or BRBE."""
    if guest.since < (6, 18):
        return _cap(_keep(value, _DFR0, "PMUVer WRPs BRPs DebugVer HPMN0"), _DFR0.field("DebugVer"), _DEBUG_VHE)
    gone = "ExtTrcBuff BRBE MTPMU TraceBuffer TraceFilt PMSVer CTX_CMPs SEBEP PMSS TraceVer"
    return _cap(_clear(value, _DFR0, gone), _DFR0.field("DebugVer"), _DEBUG_V8P8)


_RULES: dict[str, Callable[[int, Nested], int]] = {
    "ID_AA64ISAR0_EL1": _isar0,
    "ID_AA64ISAR1_EL1": _isar1,
    "ID_AA64PFR0_EL1": _pfr0,
    "ID_AA64PFR1_EL1": _pfr1,
    "ID_AA64PFR2_EL1": _pfr2,
    "ID_AA64MMFR0_EL1": _mmfr0,
    "ID_AA64MMFR1_EL1": _mmfr1,
    "ID_AA64MMFR2_EL1": _mmfr2,
    "ID_AA64MMFR4_EL1": _mmfr4,
    "ID_AA64DFR0_EL1": _dfr0,
}
