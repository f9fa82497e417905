"""ID registers of guests that have EL2: what KVM's nested virtualization takes away.

Source: Linux arch/arm64/kvm/nested.c (limit_nv_id_reg), with host pages of 4 KiB. The rules by the kernel that
has them first; 7.1 and 7.2 have those of 7.0.
"""

from __future__ import annotations

from collections.abc import Callable

_NV2_ONLY, _NO_NV1, _TTL, _HAFDBS_AF, _ECV, _PARANGE_48, _DEBUG_VHE, _DEBUG_V8P8 = 1, 0xE, 1, 1, 1, 5, 7, 10
_NV2P1, _NV3 = 2, 3

Version = tuple[int, int]


def _field(value: int, lsb: int) -> int:
    return value >> lsb & 0xF


def _put(value: int, lsb: int, digit: int) -> int:
    return value & ~(0xF << lsb) | digit << lsb


def _clear(value: int, *lsbs: int) -> int:
    for lsb in lsbs:
        value = _put(value, lsb, 0)
    return value


def _keep(value: int, *lsbs: int) -> int:
    return value & sum(0xF << lsb for lsb in lsbs)


def _cap(value: int, lsb: int, most: int) -> int:
    return _put(value, lsb, min(_field(value, lsb), most))


def limit(nested: str, name: str, value: int, *, e2h0: bool) -> int:
    """A register of a guest with EL2, from its value without. ``e2h0``: KVM_ARM_VCPU_HAS_EL2_E2H0."""
    rule = _RULES.get(name)
    if rule is None or not nested:
        return value
    major, minor = nested.split(".")
    return rule(value, (int(major), int(minor)), e2h0)


def _isar0(value: int, since: Version, _e2h0: bool) -> int:
    """No TME; since 7.0 the host's register has none either."""
    return _clear(value, 24) if since < (7, 0) else value


def _isar1(value: int, _since: Version, _e2h0: bool) -> int:
    """No LS64, no SPECRES."""
    return _clear(value, 60, 40)


def _pfr0(value: int, since: Version, _e2h0: bool) -> int:
    """AArch64 alone at every level; no RME, AMU, MPAM, SEL2, and on 6.16 no RAS."""
    value = _clear(value, 52, 44, 40, 36) & ~0xFFFF | 0x1111
    return _clear(value, 28) if since < (6, 17) else value


def _pfr1(value: int, since: Version, _e2h0: bool) -> int:
    """No PFAR, MTEX, THE, GCS, MTE, NMI, SME; until 6.17 only BT, SSBS and CSV2_frac."""
    if since < (6, 18):
        return _keep(value, 0, 4, 32)
    return _clear(value, 60, 52, 48, 44, 40, 36, 24, 20, 16, 8)


def _pfr2(value: int, _since: Version, _e2h0: bool) -> int:
    """No GICv5."""
    return _clear(value, 12)


def _mmfr0(value: int, _since: Version, _e2h0: bool) -> int:
    """No ExS, SNSMem, CNTPOFF; 48 bits; stage 2 granules are named where the host has them."""
    found = _cap(_cap(_clear(value, 44, 40, 36, 32, 12), 60, _ECV), 0, _PARANGE_48)
    for stage1, none, stage2 in ((28, 0xF, 40), (20, 0, 32), (24, 0xF, 36)):
        as_stage1 = not _field(value, stage2) and _field(value, stage1) != none
        if as_stage1 or _field(value, stage2) > 1:
            found |= 2 << stage2
    return found


def _mmfr1(value: int, since: Version, e2h0: bool) -> int:
    """No CMOW, nTLBPA, ETS; HAFDBS and XNX since 6.19; no VHE with E2H0."""
    if since < (6, 18):
        value = _keep(value, 40, 20, 16, 12, 8, 4)
    else:
        value = _clear(value, 56, 48, 36)
        value = _clear(value, 28, 0) if since < (6, 19) else _cap(value, 0, _HAFDBS_AF)
    return _clear(value, 8) if e2h0 else value


def _mmfr2(value: int, _since: Version, _e2h0: bool) -> int:
    """No BBM, ST, CCIDX, VARange; TTL always."""
    return _put(_clear(value, 52, 44, 28, 20, 16), 48, _TTL)


def _mmfr4(value: int, since: Version, e2h0: bool) -> int:
    """Either E2H0, or FEAT_NV2 (from 7.3 NV2p1 and NV3 too) without HCR_EL2.NV1."""
    if e2h0:
        return 0
    frac = _field(value, 20)
    if since < (7, 3) or not _NV2P1 <= frac < 8:
        frac = _NV2_ONLY
    return min(frac, _NV3) << 20 | _NO_NV1 << 24


def _dfr0(value: int, since: Version, _e2h0: bool) -> int:
    """PMU, debug, breakpoints and watchpoints without context matches; no trace, SPE or BRBE."""
    if since < (6, 18):
        return _cap(_keep(value, 8, 20, 12, 0, 60), 0, _DEBUG_VHE)
    return _cap(_clear(value, 56, 52, 48, 44, 40, 32, 28, 24, 16, 4), 0, _DEBUG_V8P8)


_RULES: dict[str, Callable[[int, Version, bool], int]] = {
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
