"""MSRs that KVM of both vendors has: each value at its bound, by release and host, and what is kept of it.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), __kvm_set_msr, kvm_set_msr_common; mtrr.c, kvm_mtrr_valid.
"""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.msrs.access import read, set_msr, source_of
from inspector.machine.x86.kvm.msrs.common import spec_ctrl_bits
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.msrs.values import COMMON
from inspector.machine.x86.kvm.segments import SEGMENTS
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.kvms import commands, give, kept, kvm_of, named, offers, vcpu_with

ALL = (1 << 64) - 1
EFER, HWCR, TSC_AUX, TSC_ADJUST, MISC_ENABLE = 0xC0000080, 0xC0010015, 0xC0000103, 0x3B, 0x1A0
PRED_CMD, FLUSH_CMD, OSVW_LENGTH, OSVW_STATUS = 0x49, 0x10B, 0xC0010140, 0xC0010141
LSTAR, SYSENTER_EIP, FS_BASE, GS_BASE = 0xC0000082, 0x176, 0xC0000100, 0xC0000101
PAT, MTRR_CAP, MTRR_DEF_TYPE, BASE, MASK, FIXED = 0x277, 0xFE, 0x2FF, 0x200, 0x201, 0x250


@pytest.mark.parametrize(
    ("index", "value", "takes"),
    [
        # Constants without a case in the setter; taken and dropped; 0 alone; kept.
        *((index, 0, "nothing") for index in (0, 1, 0x17, 0x2A, 0xC0010010, 0xC0010112, 0xC0010113, 0xC0010055, 0x199)),
        *((index, 0, "nothing") for index in (0x606, 0x639, 0x641, 0x611, 0x619)),
        *(
            (0xCD, 3, "nothing"),
            (0x2C, 1 << 24, "nothing"),
            (0x198, 1000 | 4 << 40, "nothing"),
            (0xFE, 0x508, "nothing"),
        ),
        *((index, 0, "anything") for index in (0xC001001F, 0xC001102A, 0xC0011022, 0xC0011023, 0xC001102C)),
        *((0x11E, 0xBE702111, "anything"), (0xC001001B, 0x20000000, "anything")),
        (0xC0010058, 0, "zero"),
        *((index, 0, "kept") for index in (0x10, 0x34, 0x1FC, 0x17A)),
        (0x9E, 0x30000, "kept"),
    ],
)
def test_values_that_are_the_same_everywhere(index: int, value: int, takes: str) -> None:
    vcpu = vcpu_with("6.12", VMX)
    assert read(vcpu, index) == value
    assert commands(vcpu, index, 0, ALL) == {"nothing": [False] * 2, "zero": [True, False]}.get(takes, [True] * 2)
    assert read(vcpu, index) == (ALL if takes == "kept" else value)


def test_for_writing_only() -> None:
    """UCODE_WRITE, PATCH_LOADER; on Intel VM_HSAVE_PA is taken and reads as 0."""
    vcpu = vcpu_with("6.12", VMX)
    for index in (0x79, 0xC0010020, PRED_CMD, FLUSH_CMD):
        assert isinstance(read(vcpu, index), Refusal)
    assert commands(vcpu, 0x79, 5) + commands(vcpu, 0xC0010020, 5) == [True, True]
    assert kept(vcpu, 0xC0010117, ALL) == 0


@pytest.mark.parametrize(
    ("emulator", "features", "bits"),
    [
        # What WRMSR takes on silicon by CPUID (SDM vol. 4, APM vol. 2 3.2.9), on Bochs, on TCG.
        ("", (), None),
        ("", ("SPEC_CTRL",), 3),
        ("", ("AMD_IBRS",), 1),
        ("", ("INTEL_STIBP",), 2),
        ("", ("AMD_STIBP",), 2),
        ("", ("SPEC_CTRL_SSBD",), 4),
        ("", ("AMD_SSBD",), 4),
        ("", ("IPRED_CTRL",), 0x18),
        ("", ("RRSBA_CTRL",), 0x60),
        ("", ("INTEL_PSFD",), 0x80),
        ("", ("AMD_PSFD",), 0x80),
        ("", ("DDPD_U",), 0x100),
        ("", ("BHI_CTRL",), 0x400),
        ("bochs", (), None),
        ("bochs", ("AMD_IBRS",), 1),
        ("bochs", ("SPEC_CTRL",), 0x5FF),
        ("tcg", (), ALL),
    ],
)
def test_what_spec_ctrl_takes(emulator: str, features: tuple[str, ...], bits: int | None) -> None:
    kvm = named(kvm_of("7.2"), *features)
    kvm.processor = kvm.processor._replace(emulator=emulator)
    assert spec_ctrl_bits(kvm) == bits
    vcpu = WholeVcpu(kvm)
    taken = {bit for bit in range(64) if kept(vcpu, 0x48, 1 << bit) == 1 << bit}
    assert sum(1 << bit for bit in taken) == (bits or 0)


@pytest.mark.parametrize(
    ("release", "la57", "cr4", "width"),
    # __is_canonical_address by the host's width (is_noncanonical_msr_address, 6.12), before by the guest's CR4.LA57.
    [
        ("6.12", False, 1 << 12, 48),
        ("6.12", True, 0, 57),
        ("6.6", True, 1 << 13 | 1 << 11, 48),
        ("6.6", False, 1 << 12, 57),
    ],
)
def test_addresses_are_canonical(release: str, la57: bool, cr4: int, width: int) -> None:
    vcpu = vcpu_with(release, VMX)
    offers(vcpu.kvm, *(("LA57",) if la57 else ()))
    vcpu.cr4 = cr4
    low, high = (1 << width - 1) - 1, ALL ^ ((1 << width - 1) - 1)
    for index in (LSTAR, 0xC0000083, 0xC0000102, FS_BASE, GS_BASE):
        assert kept(vcpu, index, low) == low
        assert kept(vcpu, index, high) == high
        assert kept(vcpu, index, low + 1) is None
        assert kept(vcpu, index, high - 1) is None
    whose = "the host's width of linear addresses" if release == "6.12" else "(CR4.LA57)"
    assert set_msr(vcpu, LSTAR, low + 1).because.endswith(whose)
    # SYSENTER's are made canonical (__canonical_address), never refused.
    for index in (0x175, SYSENTER_EIP):
        assert kept(vcpu, index, low) == low
        assert kept(vcpu, index, low + 1) == high
        assert kept(vcpu, index, 0x1000) == 0x1000
        assert kept(vcpu, index, ALL ^ (1 << width - 1)) == low


@pytest.mark.parametrize(("index", "name"), [(FS_BASE, "fs"), (GS_BASE, "gs")])
@pytest.mark.parametrize(("release", "vendor"), [("6.12", SVM), ("6.1.176", SVM), ("6.1.175", VMX)])
def test_a_base_is_that_of_its_segment_alone(release: str, vendor: str, index: int, name: str) -> None:
    vcpu, at = vcpu_with(release, vendor), SEGMENTS.index(name)
    before = vcpu.segments
    assert kept(vcpu, index, 0x1122334455) == 0x1122334455
    changed = (0x1122334455).to_bytes(8, "little") + before[at][8:]
    assert vcpu.segments == (*before[:at], changed, *before[at + 1 :])


@pytest.mark.parametrize(
    ("release", "vendor", "value", "reads"),
    [
        # TSC_AUX: refused beyond 32 bits for Intel's guests, cut for others; before 6.0 by the vendor's module.
        ("6.12", VMX, (1 << 32) - 1, (1 << 32) - 1),
        ("6.12", VMX, 1 << 32, None),
        ("6.12", SVM, 1 << 32 | 5, 5),
        ("5.10", VMX, (1 << 32) - 1, (1 << 32) - 1),
        ("5.10", VMX, 1 << 32, None),
        ("5.10", SVM, 1 << 32 | 5, 1 << 32 | 5),
    ],
)
def test_tsc_aux(release: str, vendor: str, value: int, reads: int | None) -> None:
    vcpu = vcpu_with(release, vendor, "RDTSCP")
    assert read(vcpu, TSC_AUX) == 0
    assert kept(vcpu, TSC_AUX, value) == reads


def test_efer_is_what_kvm_knows_and_lma_stays() -> None:
    """set_efer, of the host: the guest's CPUID is not asked."""
    vcpu = vcpu_with("6.12", VMX)
    known = vcpu.kvm.efer_known
    for bit in range(64):
        found = kept(vcpu, EFER, 1 << bit)
        assert found == (None if not known >> bit & 1 else 0 if bit == 10 else 1 << bit)
    vcpu.efer = 1 << 10
    assert (kept(vcpu, EFER, 0), kept(vcpu, EFER, 0x101)) == (1 << 10, 0x501)
    assert f"only bits {known:#x}," in set_msr(vcpu, EFER, 1 << 63).because


@pytest.mark.parametrize(
    ("release", "features", "taken"),
    [
        # PRED_CMD: IBPB by AMD's or Intel's bit; SBPB and 0 without either from 6.12 on.
        ("6.6", (), ()),
        ("6.6", ("AMD_IBPB", "SBPB"), (0, 1)),
        ("6.6", ("SPEC_CTRL",), (0, 1)),
        ("6.12", (), (0,)),
        ("6.12", ("SBPB",), (0, 0x80)),
        ("6.12", ("AMD_IBPB", "SBPB"), (0, 1, 0x80, 0x81)),
        ("6.12", ("SPEC_CTRL",), (0, 1)),
    ],
)
def test_prediction_commands(release: str, features: tuple[str, ...], taken: tuple[int, ...]) -> None:
    vcpu = vcpu_with(release, VMX, *features)
    values = (0, 1, 2, 0x80, 0x81, 0x100)
    assert tuple(value for value in values if set_msr(vcpu, PRED_CMD, value).accepted) == taken
    if "SBPB" in features and release == "6.12":
        assert f"({taken[-1]:#x})" in set_msr(vcpu, PRED_CMD, 2).because


def test_who_answers_for_prediction_commands() -> None:
    """Before 6.2 each vendor's module."""
    for release, source in (("6.1", "svm_set_msr (svm.c), vmx_set_msr (vmx.c)"), ("6.6", COMMON)):
        assert source_of(vcpu_with(release), PRED_CMD) == source


@pytest.mark.parametrize(
    ("release", "features", "taken"),
    [("6.1", ("FLUSH_L1D",), [False] * 3), ("6.6", ("FLUSH_L1D",), [True, True, False]), ("6.6", (), [False] * 3)],
)
def test_flush_commands(release: str, features: tuple[str, ...], taken: list[bool]) -> None:
    assert commands(vcpu_with(release, VMX, *features), FLUSH_CMD, 0, 1, 2) == taken


@pytest.mark.parametrize(
    ("release", "features", "value", "reads"),
    [
        # McStatusWrEn, from 6.12 on TscFreqSel; three bits are dropped; from 7.2 on CPUID_USER_DIS by CPUID.
        ("6.6", (), 1 << 18 | 0x148, 1 << 18),
        ("6.6", (), 0x148, 1 << 18),
        ("6.12", (), 1 << 18 | 1 << 24 | 0x148, 1 << 18 | 1 << 24),
        ("6.12", (), 0x148, 0),
        ("6.12", (), 1 << 19, None),
        ("7.1", ("GP_ON_USER_CPUID",), 1 << 35, None),
        ("7.2", (), 1 << 35, None),
        ("7.2", ("GP_ON_USER_CPUID",), 1 << 35 | 1 << 18, 1 << 35 | 1 << 18),
    ],
)
def test_hwcr(release: str, features: tuple[str, ...], value: int, reads: int | None) -> None:
    vcpu = give(vcpu_with(release), *features)
    assert kept(vcpu, HWCR, 1 << 18) == 1 << 18
    assert kept(vcpu, HWCR, value) == reads
    allowed = {"6.6": 0x40148, "7.2": 0x1040148 | bool(features) << 35}.get(release, 0x1040148)
    assert f"only bits {allowed:#x} of HWCR" in set_msr(vcpu, HWCR, 1 << 40).because


@pytest.mark.parametrize(
    ("quirk", "bit", "sse3", "accepted", "dirty"),
    [
        (True, 18, False, True, False),
        (False, 18, False, False, False),
        (False, 18, True, True, True),
        (False, 3, False, True, False),
    ],
)
def test_misc_enables_mwait(quirk: bool, bit: int, sse3: bool, accepted: bool, dirty: bool) -> None:
    vcpu = vcpu_with("6.12", leaf_1=(0x00A00F11, 0, int(sse3), 0x178BFBFF))
    assert read(vcpu, MISC_ENABLE) == 0x1800
    vcpu.vm.disabled_quirks = 0 if quirk else 1 << 4
    vcpu.cpuid_dirty = False
    assert kept(vcpu, MISC_ENABLE, 0x1800 ^ 1 << bit) == (0x1800 ^ 1 << bit if accepted else None)
    assert vcpu.cpuid_dirty is dirty
    vcpu.cpuid_dirty = True
    assert kept(vcpu, MISC_ENABLE, read(vcpu, MISC_ENABLE)) is not None  # type: ignore[arg-type]
    assert vcpu.cpuid_dirty


def test_what_follows_the_guests_cpuid() -> None:
    """TSC_ADJUST is dropped without its bit; OSVW is refused without its own, and begins with 3 errata."""
    vcpu = vcpu_with("6.12")
    assert (read(vcpu, TSC_ADJUST), kept(vcpu, TSC_ADJUST, 5)) == (0, 0)
    for index in (OSVW_LENGTH, OSVW_STATUS):
        assert isinstance(read(vcpu, index), Refusal)
        assert kept(vcpu, index, 1) is None
        assert index not in vcpu.msrs
    give(vcpu, "TSC_ADJUST", "OSVW")
    assert kept(vcpu, TSC_ADJUST, 5) == 5
    assert (read(vcpu, OSVW_LENGTH), read(vcpu, OSVW_STATUS)) == (3, 0)
    assert (kept(vcpu, OSVW_LENGTH, 9), kept(vcpu, OSVW_STATUS, 7)) == (9, 7)


# Memory types


@pytest.mark.parametrize(
    ("release", "index", "value", "accepted"),
    [
        *(("6.12", PAT, kind << 56, kind in (0, 1, 4, 5, 6, 7)) for kind in (*range(9), 255)),
        *(("6.12", FIXED, kind << 56, kind in (0, 1, 4, 5, 6)) for kind in (*range(9), 255)),
        *(("6.12", MTRR_DEF_TYPE, kind, kind in (0, 1, 4, 5, 6)) for kind in (*range(9), 255)),
        *(("6.12", BASE, kind, kind in (0, 1, 4, 5, 6)) for kind in (*range(9), 255)),
        ("6.12", MTRR_DEF_TYPE, 0xC06, True),
        *(("6.12", MTRR_DEF_TYPE, 1 << bit | 6, False) for bit in (8, 9, 12, 63)),
        # A base has its type and no bits 11:8, a mask no bits 10:0; both no address beyond the guest's 40 bits.
        ("6.12", BASE, 0xFFFFFFF006, True),
        *(("6.12", BASE, 1 << bit | 6, False) for bit in (8, 11, 40, 63)),
        ("6.12", MASK, 0xFFFFFFF800, True),
        *(("6.12", MASK, 1 << bit, False) for bit in (0, 8, 10, 40, 63)),
        ("6.12", BASE + 2, 1 << 12 | 2, False),
        ("6.12", BASE + 3, 1 << 11, True),
        ("6.12", BASE + 3, 1 << 8, False),
        # The last of eight ranges; between 0x200 and 0x26f (5.10: 0x2ff) the others are refused, beyond unknown.
        ("6.12", 0x20F, 1 << 11, True),
        ("6.12", 0x210, 0, False),
        ("5.10", 0x2FE, 0, False),
    ],
)
def test_memory_types(release: str, index: int, value: int, accepted: bool) -> None:
    assert kept(vcpu_with(release), index, value) == (value if accepted else None)


@pytest.mark.parametrize(
    ("release", "index", "known"),
    [
        *(("6.12", 0x210, True), ("6.12", 0x260, True), ("6.12", 0x270, False), ("6.12", 0x1FF, False)),
        *(("6.1", 0x270, True), ("6.1", 0x2FE, True), ("6.1", 0x1FF, False), ("6.1", 0x300, False)),
    ],
)
def test_mtrrs_that_kvm_lacks(release: str, index: int, known: bool) -> None:
    text = f"KVM has the MTRR {index:#x}" if known else f"KVM of this release has the MSR {index:#x}"
    assert set_msr(vcpu_with(release), index, 0).because == text


@pytest.mark.parametrize(
    ("release", "width", "bit", "accepted"),
    # 5.10 shifted by the width, of which the CPU takes six bits: 64 bits of address are none.
    [("5.10", 40, 40, False), ("5.10", 40, 39, True), ("5.10", 64, 39, False), ("6.1", 64, 63, True)],
)
def test_reserved_addresses(release: str, width: int, bit: int, accepted: bool) -> None:
    vcpu = vcpu_with(release, leaf_80000008=(width, 0, 0, 0))
    assert kept(vcpu, MASK, 1 << bit) == (1 << bit if accepted else None)
