"""The performance counters' MSRs: which a guest has, and the bits that each refuses, by release."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.msrs.access import get_msr, read, set_msr
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from layouts.x86.kernels import profile_for
from tests.machine.test_msrs import AMD_LEAF_0, INTEL_LEAF_0, LEAF_80000001

CAP, SELECT, COUNTER, FULL, FIXED = 0x345, 0x186, 0xC1, 0x4C1, 0x309
FIXED_CTRL, STATUS, CTRL, OVF_CTRL = 0x38D, 0x38E, 0x38F, 0x390
PEBS_ENABLE, PEBS_DATA_CFG, DS_AREA = 0x3F1, 0x3F2, 0x600
AMD_SELECT, AMD_CTL, AMD_STATUS = 0xC0010200, 0xC0000301, 0xC0000300
#: PERF_CAPABILITIES of Ice Lake: format 4 of PEBS with its baseline, and writes of the whole width.
ADAPTIVE = 0x6000 | 0x400
#: DS and PDCM beside what any 64-bit CPU has.
LEAF_1 = (0x00A00F11, 0, 0x00008001, 0x178BFBFF | 1 << 21)
COUNTERS = (2 | 4 << 8 | 48 << 16 | 7 << 24, 0, 0, 3 | 48 << 5)


def vcpu_of(
    release: str, vendor: str = VMX, *, leaf_a: CpuidValues = COUNTERS, ebx_7: int = 0, host_7: int = 0, cap: int = 0
) -> WholeVcpu:
    """A guest of a CPU with counters, whose leaf 0xA and EBX of leaf 7 may be others."""
    vmx, name = vendor == VMX, INTEL_LEAF_0 if vendor == VMX else AMD_LEAF_0
    leaves: dict[tuple[int, int], CpuidValues] = {
        (0, 0): name,
        (1, 0): LEAF_1,
        (7, 0): (0, host_7, 0, 0),
        (0xA, 0): COUNTERS if vmx else (0, 0, 0, 0),
        (0x80000000, 0): (0x80000022, *name[1:]),
        # PERFCTR_CORE is bit 23 of ECX.
        (0x80000001, 0): (0, 0, 0 if vmx else 4 | 1 << 23, LEAF_80000001[3]),
        (0x80000008, 0): (0x3028, 0, 0, 0),
        (0x80000022, 0): (0, 0, 0, 0) if vmx else (1, 6, 0, 0),
    }
    processor = Processor(msrs={CAP: ADAPTIVE}, bugs=frozenset())
    host = Host(Cpuid(leaves), profile_for(release))
    vcpu = WholeVcpu(
        Kvm(host, release=release, vendor=vendor, parameters={"enable_pmu": "Y", "pebs": "Y"}, processor=processor),
        VmConfig(memory=bytearray(1 << 16)),
    )
    of_guest = leaves | {(0xA, 0): leaf_a, (7, 0): (0, ebx_7, 0, 0)}
    vcpu.set_cpuid2(tuple(Entry(leaf, subleaf, 0, *values) for (leaf, subleaf), values in of_guest.items()))
    vcpu.msrs[CAP] = cap
    return vcpu


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
    assert set_msr(vcpu, STATUS, 1 << 40).accepted is any_bit
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
