"""The performance counters' MSRs: which a guest has, and the bits that each refuses, by release."""

from __future__ import annotations

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.module import SVM
from inspector.machine.x86.kvm.msrs.access import get_msr, read, set_msr
from inspector.machine.x86.kvm.msrs.counters import supported_perf_cap
from inspector.machine.x86.kvm.pebs import has_pebs
from tests.machine.kvms import ADAPTIVE
from tests.machine.kvms import PERF_CAPABILITIES as CAP
from tests.machine.kvms import vcpu_with_counters as vcpu_of

SELECT, COUNTER, FULL, FIXED = 0x186, 0xC1, 0x4C1, 0x309
FIXED_CTRL, STATUS, CTRL, OVF_CTRL = 0x38D, 0x38E, 0x38F, 0x390
PEBS_ENABLE, PEBS_DATA_CFG, DS_AREA = 0x3F1, 0x3F2, 0x600
AMD_SELECT, AMD_CTL, AMD_STATUS = 0xC0010200, 0xC0000301, 0xC0000300


@pytest.mark.parametrize(
    ("index", "taken", "refused"),
    [
        (SELECT, 0x5300C0, 1 << 21),
        (SELECT + 3, 0x5300C0, 1 << 32),
        (SELECT + 4, None, 0x5300C0),
        (COUNTER, 1 << 47, None),
        (FULL, (1 << 48) - 1, 1 << 48),
        (FIXED + 2, 5, None),
        (FIXED_CTRL, 0xBBB, 0x4),
        (FIXED_CTRL, 0x00B, 0x1000),
        (CTRL, 0x70000000F, 0x10),
        (STATUS, 3 << 62 | 0x70000000F, 1 << 35),
        (OVF_CTRL, 3 << 62, 1 << 4),
        (PEBS_ENABLE, 0x70000000F, 1 << 40),
        (PEBS_DATA_CFG, 0xFF00000F, 0x10),
        (DS_AREA, 0xFFFF800000000000, 1 << 62),
    ],
)
def test_an_intel_guest_has_its_counters_bits(index: int, taken: int | None, refused: int | None) -> None:
    """intel_pmu_set_msr (vmx/pmu_intel.c) and kvm_pmu_set_msr (pmu.c) of 6.12."""
    vcpu = vcpu_of("6.12", cap=ADAPTIVE)
    if taken is not None:
        assert set_msr(vcpu, index, taken).accepted
        assert read(vcpu, index) == (0 if index == OVF_CTRL else taken)
    if refused is not None:
        before = read(vcpu, index)
        assert not set_msr(vcpu, index, refused).accepted
        assert read(vcpu, index) == before


def test_the_full_width_names_the_same_counter() -> None:
    vcpu = vcpu_of("6.12", cap=ADAPTIVE)
    assert set_msr(vcpu, FULL + 1, 0x123456789ABC).accepted
    assert (read(vcpu, COUNTER + 1), read(vcpu, FULL + 1)) == (0x123456789ABC,) * 2
    # Without PERF_CAPABILITIES.FW_WRITES the guest has the old numbers alone (get_fw_gp_pmc).
    assert not set_msr(vcpu_of("6.12", cap=0x400), FULL, 1).accepted
    # What is wider is cut to the counter (pmc_read_counter, counter_bitmask).
    assert set_msr(vcpu, COUNTER, 1 << 48 | 7).accepted
    assert set_msr(vcpu, FIXED, 1 << 48 | 7).accepted
    assert (read(vcpu, COUNTER), read(vcpu, FIXED)) == (7, 7)


def test_the_full_width_is_there_from_the_start() -> None:
    """PERF_CAPABILITIES begins as what KVM supports (6.2 on), and counts for nothing without PDCM."""
    vcpu = vcpu_of("6.12")
    del vcpu.msrs[CAP]
    assert set_msr(vcpu, FULL, 1).accepted
    vcpu.guest.replace(tuple(e._replace(ecx=1) if e.leaf == 1 else e for e in vcpu.guest.entries))
    assert not set_msr(vcpu, FULL, 1).accepted


@pytest.mark.parametrize(
    ("cap", "index", "value", "accepted"),
    [
        # PEBS_ENABLE is there with a format; fixed counters are in it with the baseline alone.
        (0x2000, PEBS_ENABLE, 1, False),
        (0x2300, PEBS_ENABLE, 1, True),
        (0x2300, PEBS_ENABLE, 1 << 32, False),
        (0x6300, PEBS_ENABLE, 1 << 32, True),
        # (perf_capabilities & PERF_CAP_PEBS_FORMAT) > 3 holds for every format that is not 0.
        (0x6300, PEBS_DATA_CFG, 1, True),
        (0x2300, PEBS_DATA_CFG, 1, False),
        # ICL_EVENTSEL_ADAPTIVE, and ICL_FIXED_0_ADAPTIVE of each fixed counter.
        (0x6400, SELECT, 1 << 34, True),
        (0x2400, SELECT, 1 << 34, False),
        (0x6400, FIXED_CTRL, 1 << 40, True),
        (0x6400, FIXED_CTRL, 1 << 44, False),
        (0x2400, FIXED_CTRL, 1 << 40, False),
    ],
)
def test_pebs(cap: int, index: int, value: int, accepted: bool) -> None:
    assert set_msr(vcpu_of("6.12", cap=cap), index, value).accepted is accepted


@pytest.mark.parametrize(
    ("release", "counter", "ebx", "value", "accepted"),
    [
        ("6.12", 0, 1 << 11 | 1 << 3, 1 << 32, True),
        ("6.12", 0, 1 << 3, 1 << 32, True),
        # The features' numbers, 292 and 299, are taken for masks: RTM's own bit is none of 0x12f.
        ("6.12", 0, 1 << 11, 1 << 32, False),
        ("6.12", 0, 1 << 3, 1 << 33, False),
        ("6.12", 2, 1 << 3, 1 << 33, True),
        ("5.10", 0, 1 << 3, 1 << 33, True),
    ],
)
def test_selections_in_transactions(release: str, counter: int, ebx: int, value: int, accepted: bool) -> None:
    """intel_pmu_refresh: HSW_IN_TX; HSW_IN_TX_CHECKPOINTED of counter 2 (before 5.18 of all)."""
    vcpu = vcpu_of(release, ebx_7=ebx, host_7=1 << 11)
    assert set_msr(vcpu, SELECT + counter, value).accepted is accepted
    assert not set_msr(vcpu_of(release, ebx_7=ebx), SELECT + counter, value).accepted


@pytest.mark.parametrize(("release", "value"), [("5.10", 0x70000000F), ("6.1", 0), ("6.6", 0), ("6.12", 0xF)])
def test_what_global_ctrl_begins_with(release: str, value: int) -> None:
    """intel_pmu_refresh of 5.10; kvm_pmu_refresh from 6.9 on."""
    assert read(vcpu_of(release), CTRL) == value


@pytest.mark.parametrize(("release", "any_bit", "kept"), [("5.10", True, 1), ("6.1", True, 0), ("6.6", False, 0)])
def test_status_and_its_reset_by_release(release: str, any_bit: bool, kept: int) -> None:
    vcpu = vcpu_of(release)
    assert set_msr(vcpu, STATUS, 1 << 40 | 1).accepted is any_bit
    assert set_msr(vcpu, OVF_CTRL, 1).accepted
    assert read(vcpu, OVF_CTRL) == kept


def test_pebs_came_with_6_0() -> None:
    assert not get_msr(vcpu_of("5.10"), DS_AREA).accepted
    assert get_msr(vcpu_of("6.1"), DS_AREA).accepted


@pytest.mark.parametrize(
    ("leaf_a", "index", "accepted"),
    [
        # No version, no PMU; version 1 has no fixed counters and no global control.
        ((0, 0, 0, 0), SELECT + 2, False),
        ((0, 0, 0, 0), SELECT, True),
        ((1 | 4 << 8 | 40 << 16, 0, 0, 3 | 48 << 5), SELECT + 2, True),
        ((1 | 4 << 8 | 40 << 16, 0, 0, 3 | 48 << 5), FIXED, False),
        ((1 | 4 << 8 | 40 << 16, 0, 0, 3 | 48 << 5), CTRL, False),
        # At most the host's.
        ((2 | 8 << 8 | 48 << 16, 0, 0, 3 | 48 << 5), SELECT + 4, False),
    ],
)
def test_a_guest_with_other_counters(leaf_a: CpuidValues, index: int, accepted: bool) -> None:
    """intel_pmu_refresh. MSRs of the P6 are taken without effect where the PMU lacks them (kvm_set_msr_common)."""
    assert set_msr(vcpu_of("6.12", leaf_a=leaf_a), index, 1).accepted is accepted


@pytest.mark.parametrize(
    ("release", "index", "value", "kept"),
    [
        # amd_pmu_set_msr drops reserved bits of a selection; kvm_pmu_set_msr those of the control.
        ("6.12", AMD_SELECT, 1 << 19 | 0x530076, 0x530076),
        ("6.12", AMD_SELECT + 1, 1 << 48 | 5, 5),
        ("6.12", AMD_CTL, 0xFF, 0x3F),
        ("6.12", AMD_STATUS, 0x3F, 0x3F),
        ("6.12", AMD_STATUS, 1 << 20, None),
    ],
)
def test_amds_counters(release: str, index: int, value: int, kept: int | None) -> None:
    vcpu = vcpu_of(release, SVM)
    assert set_msr(vcpu, index, value).accepted is (kept is not None)
    assert read(vcpu, index) == (kept or 0)


@pytest.mark.parametrize(("release", "value"), [("6.6", 0), ("6.12", 0x3F)])
def test_what_amds_control_begins_with(release: str, value: int) -> None:
    assert read(vcpu_of(release, SVM), AMD_CTL) == value


@pytest.mark.parametrize(
    ("release", "version", "masks"),
    [
        ("6.12", 1, (0xF, 0xFF00000F)),
        ("6.17", 1, (0xF, 0xFF00000F)),
        # From 6.18 on intel_pmu_refresh returns for version 1 before it makes the masks of PEBS: only 0 is taken.
        ("6.18", 1, (0, 0)),
        ("7.3", 1, (0, 0)),
        ("7.3", 2, (0x70000000F, 0xFF00000F)),
        ("6.12", 0, (0, 0)),
    ],
)
def test_the_masks_of_pebs_by_version_of_the_pmu(release: str, version: int, masks: tuple[int, int]) -> None:
    vcpu = vcpu_of(release, cap=ADAPTIVE, leaf_a=(version | 4 << 8 | 48 << 16 | 7 << 24, 0, 0, 3 | 48 << 5))
    for index, mask in zip((PEBS_ENABLE, PEBS_DATA_CFG), masks, strict=True):
        for bit in range(64):
            assert set_msr(vcpu, index, 1 << bit).accepted is bool(mask >> bit & 1)
    if version:
        # ICL_EVENTSEL_ADAPTIVE.
        assert set_msr(vcpu, SELECT, 1 << 34).accepted is bool(masks[0])


@pytest.mark.parametrize(
    ("release", "baseline"),
    # Adaptive PEBS goes with commit 9e985cbf2942 (6.9), which 6.1's updates have.
    [("6.1", False), ("6.6", True), ("6.12", False), ("7.3", False)],
)
def test_which_kernel_supports_adaptive_pebs(release: str, baseline: bool) -> None:
    kvm = vcpu_of(release).kvm
    assert supported_perf_cap(kvm) == 0x2400 | baseline << 14
    kvm.processor.msrs[CAP] = ADAPTIVE & ~0xF00
    assert supported_perf_cap(kvm) == 0x2000


@pytest.mark.parametrize(("release", "timing"), [("6.16", 0), ("6.17", 1 << 17), ("7.3", 1 << 17)])
def test_what_else_of_pebs_kvm_shows(release: str, timing: int) -> None:
    kvm = vcpu_of(release).kvm
    kvm.processor.msrs[CAP] = 0xFFFF_FFFF
    assert supported_perf_cap(kvm) & ~0x3F == 0x2FC0 | timing


@pytest.mark.parametrize(
    ("release", "model", "parameters", "has"),
    [
        ("6.1", 0x6A, {}, True),
        ("6.1", 0x6C, {}, True),
        ("6.1", 0x8F, {}, False),
        ("6.6", 0x8F, {}, True),
        ("6.6", 0x55, {}, False),
        ("5.10", 0x6A, {}, False),
        ("6.12", 0x6A, {"enable_pmu": "N"}, False),
        # Linux's own PMU for guests leaves neither PEBS nor last branches to them.
        ("7.2", 0x6A, {"enable_mediated_pmu": "Y"}, False),
        ("7.2", 0x6A, {"enable_mediated_pmu": "N"}, True),
    ],
)
def test_where_guests_have_pebs(release: str, model: int, parameters: dict[str, str], has: bool) -> None:
    """vmx_pebs_supported: pebs_ept of the host's model, whatever parameters were captured."""
    kvm = vcpu_of(release).kvm
    kvm.host.cpuid.leaves[1, 0] = (0x600 | model >> 4 << 16 | (model & 0xF) << 4, 0, 0x8000, 1 << 21)
    kvm.parameters = {**kvm.parameters, **parameters}
    assert has_pebs(kvm) is has


DS_64, PEBS_64 = 0x8004, 0x2400


@pytest.mark.parametrize(
    ("release", "leaf_1", "value", "taken"),
    [
        ("6.12", (0x606A6, 0, DS_64, 1 << 21), PEBS_64, True),
        # The format alone, and other bits of PEBS than the host's.
        ("6.12", (0x606A6, 0, DS_64, 1 << 21), 0x2300, False),
        ("6.12", (0x606A6, 0, DS_64, 1 << 21), 0x2000, True),
        ("6.6", (0x606A6, 0, DS_64, 1 << 21), PEBS_64, False),
        ("6.6", (0x606A6, 0, DS_64, 1 << 21), PEBS_64 | 1 << 14, True),
        # DS, DTES64, the model, which another family or stepping may have.
        ("6.12", (0x606A6, 0, DS_64, 0), PEBS_64, False),
        ("6.12", (0x606A6, 0, 0x8000, 1 << 21), PEBS_64, False),
        ("6.12", (0x806F8, 0, DS_64, 1 << 21), PEBS_64, False),
        ("6.12", (0x806F8, 0, DS_64, 1 << 21), 0x2000, True),
        ("6.12", (0x606A1, 0, DS_64, 1 << 21), PEBS_64, True),
    ],
)
def test_a_guest_is_given_pebs(release: str, leaf_1: CpuidValues, value: int, taken: bool) -> None:
    """vmx_set_msr, MSR_IA32_PERF_CAPABILITIES."""
    vcpu = vcpu_of(release, leaf_1=leaf_1)
    vcpu.kvm.host.cpuid.leaves[1, 0] = (0x606A6, 0, DS_64, 1 << 21)
    assert set_msr(vcpu, CAP, value).accepted is taken
