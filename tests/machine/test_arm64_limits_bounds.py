"""A host as its limits say: masks, what goes with a feature, what reads as zero; and what its processes read.

Source: Linux arch/arm64/kvm/sys_regs.c (__kvm_read_sanitised_id_reg, sysreg_visible_as_raz), arm.c (kvm_target_cpu);
arch/arm64/kernel/cpufeature.c (emulate_sys_reg, is_emulated, arm64_ftr_reg_user_value).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64 import el0
from inspector.machine.arm64.host import (
    HAS_EL2,
    HAS_EL2_E2H0,
    MTE,
    PMU_V3,
    POWER_OFF,
    PSCI_0_2,
    PTRAUTH,
    PTRAUTH_ADDRESS,
    SVE,
    Host,
)
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.ids import (
    AIDR,
    CTR,
    DCZID,
    DFR0,
    DFR0_AARCH32,
    ISAR0,
    ISAR1,
    ISAR2,
    MIDR,
    MMFR1,
    MMFR2,
    MPIDR,
    PFR0,
    PFR1,
    PFR1_AARCH32,
    PMCR,
    REVIDR,
    WORKAROUND_1,
    ZFR0,
    make,
    sysreg_id,
)
from layouts.arm64.kernels import kernels
from layouts.vocabulary import Bits
from tests.machine.arm64_bounds import U64, bare_host, midr


def bare(limits: Mapping[int, int], kernel: str = "7.2", **what: Mapping[int, int]) -> Host:
    return Host(kernels()[kernel], limits, **what)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "target"),
    [
        ((0x41, 0xD0F), 0),
        ((0x41, 0xD00), 1),
        ((0x41, 0xD07), 2),
        ((0x50, 0), 3),
        ((0x41, 0xD03), 4),
        ((0x41, 0xD08), 5),
        ((0x50, 0xD07), 5),
    ],
)
def test_targets(part: tuple[int, int], target: int) -> None:
    assert bare({MIDR: midr(part)}).target == target
    assert bare({}).target == 5


def test_who_knows_the_hardware() -> None:
    made = bare({PFR0: 1}, sanitised={PFR0: 2}, of_core={PFR0: 3, PFR1: 4})
    assert [made.hardware(one) for one in (PFR0, PFR1, ISAR0)] == [2, 4, None]
    assert bare({}).firmware(make(ids.FIRMWARE, 8, 7)) is None
    assert [bare({}).has_aarch32, bare({PFR0: 1}).has_aarch32, bare({PFR0: 2}).has_aarch32] == [False, False, True]


def test_a_host_of_which_little_is_known() -> None:
    made = bare({})
    assert (made.sve_vqs, made.features, made.gic, made.name, made.pmcr) == (0, POWER_OFF | PSCI_0_2, 3, "", 6 << 11)
    assert (made.bare_ctr, made.bare_dczid, made.checked, made.pkvm) == (0, None, {}, False)
    assert (bare({CTR: 5}).bare_ctr, bare({CTR: 5}, sanitised={CTR: 6}).bare_ctr) == (5, 6)
    named = Host(kernels()["7.2"], {}, name="n", sve_vqs=3, features=1, gic=2, pkvm=True)
    assert (named.name, named.sve_vqs, named.features, named.gic, named.pkvm) == ("n", 3, 1, 2, True)
    assert bare({}, registers={sysreg_id(PMCR): b"\0\x18".ljust(8, b"\0")}).pmcr == 3 << 11


def test_firmware_registers_of_a_host() -> None:
    """The value at reset and the bits that may be set; what a capture holds instead."""
    bitmap = make(ids.FIRMWARE_BITMAP, 8, 3)
    made, seen = bare({}), bare({}, registers={bitmap: b"\2".ljust(8, b"\0"), WORKAROUND_1: b"\1".ljust(8, b"\0")})
    assert [made.firmware(one) for one in (bitmap, WORKAROUND_1)] == [(0, 3), (0, 15)]
    assert [seen.firmware(one) for one in (bitmap, WORKAROUND_1)] == [(2, 3), (1, 15)]
    assert bare({}, "5.10").firmware(bitmap) is None


def test_writable_masks() -> None:
    assert bare({}, masks={ISAR0: 5}).mask(ISAR0) == 5
    assert bare({}, masks={}).mask(ISAR0) == 0
    kernel = kernels()["7.2"]
    assert bare({}).mask(ISAR0) == kernel.registers[ISAR0].mask != 0
    assert bare({}).mask(0xFFFF) == 0
    aarch32 = kernel.registers[DFR0_AARCH32].mask
    assert [bare({PFR0: level}).mask(DFR0_AARCH32) for level in (1, 2)] == [0, aarch32]


PLACES: list[tuple[int, int, Bits]] = [
    (SVE, PFR0, of.PFR0_SVE),
    (PMU_V3, DFR0, of.DFR0_PMUVER),
    (PMU_V3, DFR0_AARCH32, of.DFR0_AARCH32_PERFMON),
    *((PTRAUTH_ADDRESS, ISAR1, bits) for bits in (of.ISAR1_APA, of.ISAR1_API, of.ISAR1_GPA, of.ISAR1_GPI)),
    *((PTRAUTH_ADDRESS, ISAR2, bits) for bits in (of.ISAR2_APA3, of.ISAR2_GPA3)),
]


@pytest.mark.parametrize(("feature", "register", "bits"), PLACES)
def test_fields_that_go_with_a_feature(feature: int, register: int, bits: Bits) -> None:
    made = bare({register: U64})
    with_it, without = made.limit(register, feature), made.limit(register, PSCI_0_2)
    assert with_it == U64
    assert with_it ^ without == sum(each.mask for some, one, each in PLACES if one == register)
    assert bits.get(without) == 0
    old = bare({register: U64}, "5.10").limit(register, PSCI_0_2)
    assert (old == U64) is (feature == PMU_V3), "Linux 5.10 shows the PMU to all"
    assert made.limit(ISAR0, PSCI_0_2) == 0


def test_limits_of_sve_and_nested_guests() -> None:
    made = bare({ZFR0: 0x11, PFR0: 0x1222})
    assert (made.limit(ZFR0, PSCI_0_2), made.limit(ZFR0, SVE)) == (0, 0x11)
    assert made.limit(PFR0, HAS_EL2) == 0x1111
    assert made.limit(PFR0, PSCI_0_2) == 0x1222
    vh = bare({MMFR1: U64})
    assert vh.limit(MMFR1, HAS_EL2) ^ vh.limit(MMFR1, HAS_EL2 | HAS_EL2_E2H0) == 0xF << 8
    assert vh.limit(MMFR1, HAS_EL2_E2H0) == U64
    assert made.limit(0xFFFF, HAS_EL2) == 0
    assert bare({PFR1: 1}, with_mte={PFR1: 3}).limit(PFR1, MTE) == 3
    assert bare({PFR1: 1}, with_mte={MMFR2: 3}).limit(PFR1, MTE) == 1
    assert bare({PFR1: 1}, with_mte={PFR1: 3}).limit(PFR1, PSCI_0_2) == 1


def test_registers_that_read_as_zero() -> None:
    alone, both, old = bare({PFR0: 1}), bare({PFR0: 2}), bare({PFR0: 1}, "5.10")
    for made, expected in ((alone, True), (both, False), (old, False)):
        assert made.reads_as_zero(DFR0_AARCH32, PSCI_0_2) is expected
    assert alone.reads_as_zero(0xFFFF, 0) is True
    assert [alone.reads_as_zero(ZFR0, features) for features in (PSCI_0_2, SVE)] == [True, False]
    assert alone.reads_as_zero(ISAR0, 0) is False
    kinds = {register.kind: register.encoding for register in kernels()["7.2"].registers.values()}
    assert both.reads_as_zero(kinds["hidden"], SVE) is both.reads_as_zero(kinds["unallocated"], SVE) is True


def test_reset_values_are_limits_but_what_reads_as_zero() -> None:
    """ID_DFR0_EL1 follows the PMU whatever AArch32 is; the implementation's registers are always there."""
    limits = {PFR0: 1, PFR1_AARCH32: 7, DFR0_AARCH32: 0x300_0006, MIDR: 5, REVIDR: 6, AIDR: 7, ISAR0: 0x22}
    made = bare(limits)
    found = made.reset_values(PMU_V3)
    assert [found[one] for one in limits] == [1, 0, 0x300_0006, 5, 6, 7, 0x22]
    assert made.reset_values(PSCI_0_2)[DFR0_AARCH32] == 6
    assert set(found) == {*kernels()["7.2"].registers, MIDR, REVIDR, AIDR}
    assert [bare(limits, "5.10").reset_values(0)[one] for one in (MIDR, REVIDR, AIDR)] == [5, 6, 7]


def test_a_host_as_it_would_be() -> None:
    made = bare({ISAR0: 0x21, ISAR1: 5})
    assert made.limit(ISAR0, 0) == 0x21
    other = made.supposing(ISAR0, 0xF0, 0x37)
    assert (other.limit(ISAR0, 0), other.reset_values(0)[ISAR0], other.limit(ISAR1, PTRAUTH)) == (0x31, 0x31, 5)
    assert made.limit(ISAR0, 0) == 0x21
    assert made.supposing(MMFR2, 0xF, 0x23).limit(MMFR2, 0) == 3
    assert made.supposing(MMFR2, 0xF0, 0x23).limit(MMFR2, 0) == 0x20


# What processes read


def test_mrs_of_a_process() -> None:
    made = bare_host({MIDR: 0x11, REVIDR: 0x22, MPIDR: 0x33, CTR: 0x44, DCZID: 5, ISAR0: 0x1100_0000_0011_1110})
    for register, value in ((MIDR, 0x11), (REVIDR, 0x22), (MPIDR, 1 << 31), (CTR, 0x44), (DCZID, 5)):
        assert el0.mrs(made, register) == value
    assert el0.mrs(made, ISAR0) == made.sanitised[ISAR0] & ~(0xF << 56)
    crm = {number: ids.encoding_of_op((3, 0, 0, number, 0)) for number in range(16)}
    assert [number for number in crm if el0.mrs(made, crm[number]) is not None] == [0, 2, 3, 4, 5, 6, 7]
    old = bare_host({}, "5.10")
    assert [number for number in crm if el0.mrs(old, crm[number]) is not None] == [0, 4, 5, 6, 7]
    for op in ((3, 0, 0, 0, 1), (3, 0, 1, 4, 0), (3, 1, 0, 4, 0), (2, 0, 0, 4, 0)):
        assert el0.mrs(made, ids.encoding_of_op(op)) is None
    assert el0.mrs(bare({}), MIDR) == el0.mrs(bare({}), REVIDR) == 0


@pytest.mark.parametrize(
    ("part", "kernel", "ssbs"),
    [((0x41, 0xD0C), "7.2", 0), ((0x41, 0xD0C), "6.6", 2), ((0x41, 0xD03), "7.2", 2), ((0x42, 0xD0C), "7.2", 2)],
)
def test_ssbs_of_cores_where_it_does_not_hold(part: tuple[int, int], kernel: str, ssbs: int) -> None:
    made = bare_host({MIDR: midr(part), PFR1: of.PFR1_SSBS.put(of.PFR1_BT.put(0, 1), 2)}, kernel)
    assert el0.mrs(made, PFR1) == of.PFR1_SSBS.put(1, ssbs)


def test_a_register_that_the_kernel_does_not_track() -> None:
    made = bare_host({})
    assert el0.user_value(made, 0xC03F) == el0.user_value(made, 0xFFFF) == 0
    assert el0.user_value(bare({}), ISAR1) & 0xF == el0.user_value(bare({}), PFR1) & 0xF == 0
    assert el0.user_value(bare({}), PFR0) == el0.user_value(bare_host({PFR0: 0}), PFR0)
    # What is not shown has its safe value: FP and AdvSIMD are shown, CSV2 is not.
    shown = el0.user_value(bare_host({PFR0: of.PFR0_CSV2.put(0x12, 1)}), PFR0)
    assert (shown & 0xFF, of.PFR0_CSV2.get(shown)) == (0x11, 0)
    assert sysreg_id(PFR0) == ids.make(ids.SYSREG, 8, PFR0)
