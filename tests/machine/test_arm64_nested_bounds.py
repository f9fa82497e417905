"""What KVM takes of ID registers from guests that have EL2: each field, by the kernel that has the rule first.

Source: Linux arch/arm64/kvm/nested.c (limit_nv_id_reg, has_tgran_2) of 6.16, 6.17, 6.18, 6.19, 7.0 and 7.3.
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64.nested import limit
from layouts.arm64.id_fields import id_register

U64 = (1 << 64) - 1
EVERY = ("6.16", "6.17", "6.18", "6.19", "7.0", "7.3")


def fields(register: str, text: str) -> int:
    """Fields at their values (``EL0=1``), all ones without one; ``24+4`` is four bits from 24 on."""
    found = 0
    for word in text.split():
        name, _, number = word.partition("=")
        if "+" in name:
            lsb, _, width = name.partition("+")
            found |= ((1 << int(width)) - 1) << int(lsb)
            continue
        bits = id_register(register).field(name)
        found |= bits.mask if not number else bits.put(0, int(number))
    return found


@pytest.mark.parametrize(
    ("name", "releases", "gone", "then"),
    [
        ("ISAR0", EVERY[:4], "24+4", ""),
        ("ISAR0", EVERY[4:], "", ""),
        ("ISAR1", EVERY, "LS64 SPECRES", ""),
        ("ISAR2", EVERY, "", ""),
        ("PFR0", EVERY[:1], "RME AMU MPAM SEL2 RAS EL0 EL1 EL2 EL3", "EL0=1 EL1=1 EL2=1 EL3=1"),
        ("PFR0", EVERY[1:], "RME AMU MPAM SEL2 EL0 EL1 EL2 EL3", "EL0=1 EL1=1 EL2=1 EL3=1"),
        ("PFR1", EVERY[2:], "PFAR MTEX THE GCS MTE_frac NMI SME 20+4 MPAM_frac MTE", ""),
        ("PFR2", EVERY, "GCIE", ""),
        ("MMFR1", EVERY[2:3], "CMOW nTLBPA ETS XNX HAFDBS", ""),
        ("MMFR1", EVERY[3:], "CMOW nTLBPA ETS HAFDBS", "HAFDBS=1"),
        ("MMFR2", EVERY, "BBM TTL 44+4 ST CCIDX VARange", "TTL=1"),
        ("DFR0", EVERY[2:], "ExtTrcBuff BRBE MTPMU TraceBuffer TraceFilt PMSVer CTX_CMPs SEBEP PMSS TraceVer DebugVer",
         "DebugVer=10"),
        ("MMFR0", EVERY, "EXS TGRAN4_2 TGRAN16_2 TGRAN64_2 SNSMEM ECV PARANGE",
         "ECV=1 PARANGE=5 TGRAN4_2=2 TGRAN16_2=2 TGRAN64_2=2"),
    ],
)  # fmt: skip
def test_what_is_gone(name: str, releases: tuple[str, ...], gone: str, then: str) -> None:
    register = f"ID_AA64{name}_EL1"
    for release in releases:
        expected = U64 & ~fields(register, gone) | fields(register, then)
        assert limit(release, register, U64, e2h0=False) == expected, release


@pytest.mark.parametrize(
    ("name", "kept", "then"),
    [
        ("PFR1", "BT SSBS CSV2_frac", ""),
        ("MMFR1", "HCX PAN LO HPDS VH VMIDBits", ""),
        ("DFR0", "PMUVer WRPs BRPs HPMN0", "DebugVer=7"),
    ],
)
def test_what_was_kept_until_6_17(name: str, kept: str, then: str) -> None:
    register = f"ID_AA64{name}_EL1"
    for release in EVERY[:2]:
        assert limit(release, register, U64, e2h0=False) == fields(register, kept) | fields(register, then)


@pytest.mark.parametrize("release", EVERY)
def test_less_than_the_most_stays(release: str) -> None:
    for text in ("ECV=0 PARANGE=4", "ECV=1 PARANGE=5"):
        value = fields("ID_AA64MMFR0_EL1", f"{text} TGRAN4 TGRAN64")
        assert limit(release, "ID_AA64MMFR0_EL1", value, e2h0=False) == value
    for version in (0, 6, 7):
        value = fields("ID_AA64DFR0_EL1", f"DebugVer={version}")
        assert limit(release, "ID_AA64DFR0_EL1", value, e2h0=False) == value
    assert limit(release, "ID_AA64MMFR1_EL1", 0, e2h0=False) == 0


@pytest.mark.parametrize(("granule", "none", "there"), [("TGRAN4", 0xF, 0), ("TGRAN16", 0, 1), ("TGRAN64", 0xF, 0)])
@pytest.mark.parametrize(("stage2", "shown_with", "shown_without"), [(0, 2, 0), (1, 0, 0), (2, 2, 2), (3, 2, 2)])
def test_stage_2_granules(
    granule: str, none: int, there: int, stage2: int, shown_with: int, shown_without: int
) -> None:
    """Stage 2 as stage 1 (0), none (1), there (2 and more); shown as there, or not at all."""
    register = "ID_AA64MMFR0_EL1"
    others = {"TGRAN4": "TGRAN64", "TGRAN16": "TGRAN4 TGRAN64", "TGRAN64": "TGRAN4"}[granule]
    for stage1, shown in ((there, shown_with), (none, shown_without)):
        value = fields(register, f"{granule}={stage1} {granule}_2={stage2} {others}")
        expected = fields(register, f"{granule}={stage1} {granule}_2={shown} {others}")
        assert limit("7.2", register, value, e2h0=False) == expected


@pytest.mark.parametrize("release", EVERY)
def test_vhe_or_e2h0(release: str) -> None:
    both = [limit(release, "ID_AA64MMFR1_EL1", U64, e2h0=e2h0) for e2h0 in (False, True)]
    assert both[0] ^ both[1] == fields("ID_AA64MMFR1_EL1", "VH")
    assert limit(release, "ID_AA64MMFR4_EL1", U64, e2h0=True) == 0


@pytest.mark.parametrize(
    ("frac", "until_7_2", "since_7_3"),
    [(0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 3), (7, 1, 3), (8, 1, 1), (0xF, 1, 1)],
)
def test_nested_virtualization_of_the_guest_itself(frac: int, until_7_2: int, since_7_3: int) -> None:
    register = "ID_AA64MMFR4_EL1"
    value = U64 & ~fields(register, "NV_frac") | fields(register, f"NV_frac={frac}")
    for release, expected in (("7.0", until_7_2), ("7.2", until_7_2), ("7.3", since_7_3)):
        assert limit(release, register, value, e2h0=False) == fields(register, f"NV_frac={expected} E2H0=14")


def test_kernels_and_registers_without_a_rule() -> None:
    assert limit("", "ID_AA64PFR0_EL1", 0x12, e2h0=False) == 0x12
    assert limit("7.2", "ID_AA64ZFR0_EL1", 0x12, e2h0=False) == 0x12
