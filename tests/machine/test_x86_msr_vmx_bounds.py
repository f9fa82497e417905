"""The VMX capability MSRs, as KVM_SET_MSRS sets them and KVM_GET_MSRS reads them: each bit, by release.

Source: Linux arch/x86/kvm/vmx/nested.c, vmx_set_vmx_msr, vmx_get_vmx_msr; vmx/vmx.c, nested_vmx_cr_fixed1_bits_update.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import VMX
from inspector.machine.x86.kvm.msrs.access import read, set_msr
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.whole import WholeVcpu
from layouts.x86.features import FEATURES
from tests.machine.kvms import INTEL_LEAF_0, offers, vcpu_with

BASIC, MISC, CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, CR4_FIXED1 = 0x480, 0x485, 0x486, 0x487, 0x488, 0x489
VMCS_ENUM, PROCBASED2, EPT_VPID_CAP, VMFUNC = 0x48A, 0x48B, 0x48C, 0x491
PIN, PROC, EXIT, ENTRY = 0x48D, 0x48E, 0x48F, 0x490
TIMER = 1 << 38
#: Of VMX_BASIC: a VMCS of 1 KiB, true controls. Of VMX_MISC: rate 5, HLT, 4 targets, 2 * 512 MSRs, an MSEG's revision.
HOST = {
    BASIC: 0x11E57ED0 | 1 << 42 | 6 << 50 | 1 << 55,
    MISC: 5 | 1 << 6 | 4 << 16 | 2 << 25 | 1 << 40,
    CR0_FIXED0: 0x80000021,
    CR4_FIXED0: 0x2000,
    VMCS_ENUM: 0x2E,
    EPT_VPID_CAP: 0xF0106134141,
    VMFUNC: 1,
    **dict.fromkeys((PIN, PROC, EXIT, ENTRY, PROCBASED2), 0x7F << 32 | 0x16),
}
CR4 = {
    "VME": 3,
    "TSC": 1 << 2,
    "DE": 1 << 3,
    "PSE": 1 << 4,
    "PAE": 1 << 5,
    "MCE": 1 << 6,
    "PGE": 1 << 7,
    "FXSR": 1 << 9,
    "XMM": 1 << 10,
    "UMIP": 1 << 11,
    "LA57": 1 << 12,
    "SMX": 1 << 14,
    "FSGSBASE": 1 << 16,
    "PCID": 1 << 17,
    "XSAVE": 1 << 18,
    "SMEP": 1 << 20,
    "SMAP": 1 << 21,
    "PKU": 1 << 22,
}
VMXE_AND_PCE = 1 << 13 | 1 << 8


def intel(release: str = "6.12", host: Mapping[int, int] = HOST) -> WholeVcpu:
    vcpu = vcpu_with(release, VMX, "VMX")
    vcpu.kvm.parameters = {**vcpu.kvm.parameters, "nested": "Y"}
    vcpu.kvm.processor = vcpu.kvm.processor._replace(features=host)
    with_features(vcpu)
    return vcpu


def with_features(vcpu: WholeVcpu, *features: str) -> None:
    """CPUID of nothing but VMX and some features, which KVM has as well."""
    registers: dict[tuple[int, int], list[int]] = {(0, 0): list(INTEL_LEAF_0), (0x80000000, 0): [0x80000008, 0, 0, 0]}
    for feature in ("VMX", *features):
        leaf, subleaf, register, bit = FEATURES[feature]
        registers.setdefault((leaf, subleaf), [0, 0, 0, 0])[register] |= 1 << bit
    offers(vcpu.kvm, *features)
    vcpu.guest.replace(tuple(Entry(*leaf, 1, *values) for leaf, values in registers.items()))


def flipped(vcpu: WholeVcpu, index: int) -> set[int]:
    """The bits of KVM's value that may be set the other way round, one by one."""
    return {bit for bit in range(64) if set_msr(vcpu, index, HOST.get(index, 0) ^ 1 << bit).accepted}


def bits(*ranges: int | Collection[int]) -> set[int]:
    return {bit for each in ranges for bit in ((each,) if isinstance(each, int) else each)}


@pytest.mark.parametrize(
    ("index", "taken"),
    [
        # The revision is KVM's; the size may grow; memory types are not looked at; features may go.
        (BASIC, bits(range(32, 42), 43, 44, range(50, 54), 55)),
        # Features may go, counts may fall; the rate of a timer and the MSEG's revision are KVM's.
        (MISC, bits(6, 18, 26)),
        # What is always on stays on, and nothing comes.
        *((index, bits(0, 3, range(5, 32), range(32, 39))) for index in (PIN, PROC, EXIT, ENTRY, PROCBASED2)),
        (CR0_FIXED0, bits(range(64)) - {0, 5, 31}),
        (CR4_FIXED0, bits(range(64)) - {13}),
        (EPT_VPID_CAP, {bit for bit in range(64) if HOST[EPT_VPID_CAP] >> bit & 1}),
        (VMFUNC, {0}),
        (VMCS_ENUM, bits(range(64))),
        # Made of others, or of CPUID.
        *((index, set[int]()) for index in (0x481, 0x482, 0x483, 0x484, CR0_FIXED1, CR4_FIXED1)),
    ],
)
def test_bits_that_a_vmm_may_turn(index: int, taken: set[int]) -> None:
    assert flipped(intel(), index) == taken


def test_each_feature_of_a_host_that_has_it() -> None:
    """Features of VMX_BASIC (bit 56 from 6.18 on) and VMX_MISC may stay or go where KVM has them."""
    basic = HOST[BASIC] | 1 << 49 | 1 << 54 | 1 << 56
    misc = HOST[MISC] | 0x1FF << 5 | 3 << 14 | 0xF << 28
    vcpu = intel(host={**HOST, BASIC: basic, MISC: misc})
    for index, value, features in ((BASIC, basic, (49, 54, 55, 56)), (MISC, misc, (5, 6, 7, 8, 14, 15, 28, 29, 30))):
        assert set_msr(vcpu, index, value).accepted
        for bit in features:
            assert set_msr(vcpu, index, value ^ 1 << bit).accepted
            assert read(vcpu, index) == value ^ 1 << bit


def test_what_a_refusal_names() -> None:
    vcpu = intel()
    assert set_msr(vcpu, PIN, 0).because == "the bits of 0x16 that are always on are set in 0x0"
    text = "no bit is set in 0xff00000016 that KVM does not support (0x7f)"
    assert set_msr(vcpu, PIN, 0xFF << 32 | 0x16).because == text
    # A VMCS of 1023 bytes is too short.
    assert not set_msr(vcpu, BASIC, HOST[BASIC] ^ 0x7FF << 32).accepted


def test_without_the_timer_its_rate_is_free() -> None:
    vcpu = intel(host={**HOST, PIN: HOST[PIN] ^ TIMER})
    assert flipped(vcpu, MISC) == bits(range(5), 6, 18, 26)
    # What the VMM left of the controls counts, not what KVM has.
    vcpu = intel()
    assert set_msr(vcpu, PIN, HOST[PIN] ^ TIMER).accepted
    assert flipped(vcpu, MISC) == bits(range(5), 6, 18, 26)


@pytest.mark.parametrize(
    ("release", "back"),
    [("5.10.261", False), ("5.10.262", True), ("5.11", False), ("5.19", False), ("6.0", True), ("6.12", True)],
)
def test_what_bounds_the_next_value(release: str, back: bool) -> None:
    """vmcs_config.nested, before 6.0 what was set last (vmx->nested.msrs)."""
    vcpu = intel(release)
    assert set_msr(vcpu, PIN, 0x3F << 32 | 0x16).accepted
    assert set_msr(vcpu, PIN, HOST[PIN]).accepted is back
    assert set_msr(vcpu, EPT_VPID_CAP, 0).accepted
    assert set_msr(vcpu, EPT_VPID_CAP, 1 << 6).accepted is back


def test_the_old_controls_have_ones_of_their_own() -> None:
    """vmx_get_vmx_msr: the true controls with *_ALWAYSON_WITHOUT_TRUE_MSR."""
    vcpu = intel()
    ones = {0x481: 0x16, 0x482: 0x0401E172, 0x483: 0x00036DFF, 0x484: 0x000011FF}
    for (old, always), true in zip(ones.items(), (PIN, PROC, EXIT, ENTRY), strict=True):
        kept = 0x7F << 32 | 0x80000016 | (true - PIN) << 3
        assert set_msr(vcpu, true, kept).accepted
        assert (read(vcpu, true), read(vcpu, old)) == (kept, kept | always)
    assert (read(vcpu, CR0_FIXED1), read(vcpu, VMCS_ENUM)) == (0xFFFFFFFF, 0x2E)


@pytest.mark.parametrize(
    ("release", "features", "cr4"),
    [
        *(("5.10", (feature,), value) for feature, value in CR4.items()),
        ("5.10", tuple(CR4), sum(CR4.values())),
        ("6.7", ("LAM",), 0),
        ("6.8", ("LAM",), 1 << 28),
        ("6.17", ("SHSTK", "IBT"), 0),
        ("6.18", ("SHSTK",), 1 << 23),
        ("6.18", ("IBT",), 1 << 23),
    ],
)
def test_cr4_follows_the_guests_cpuid(release: str, features: tuple[str, ...], cr4: int) -> None:
    vcpu = intel(release)
    with_features(vcpu, *features)
    assert read(vcpu, CR4_FIXED1) == VMXE_AND_PCE | cr4


@pytest.mark.parametrize(
    ("features", "kept"),
    [
        ((), ()),
        (("RDTSCP",), (3,)),
        (("RDPID",), (3,)),
        (("RDRAND",), (11,)),
        (("INVPCID",), (12,)),
        (("RDSEED",), (16,)),
        (("XSAVES",), ()),
        (("XSAVE",), ()),
        (("XSAVES", "XSAVE"), (20,)),
        (("WAITPKG",), (26,)),
    ],
)
def test_controls_of_what_the_guest_lacks_are_gone(features: tuple[str, ...], kept: tuple[int, ...]) -> None:
    """vmx_adjust_secondary_exec_control, of what the VMM did not set."""
    vcpu = intel(host={**HOST, PROCBASED2: (1 << 64) - 1})
    with_features(vcpu, *features)
    gone = {3, 11, 12, 16, 20, 26} - {*kept}
    assert read(vcpu, PROCBASED2) == (1 << 64) - 1 - sum(1 << 32 + bit for bit in gone)
    assert set_msr(vcpu, PROCBASED2, 1 << 35 | 0xFFFFFFFF).accepted
    assert read(vcpu, PROCBASED2) == 1 << 35 | 0xFFFFFFFF


def test_without_the_quirk_they_begin_as_0() -> None:
    """KVM_X86_QUIRK_STUFF_FEATURE_MSRS; what KVM does not have is 0 as well."""
    vcpu = intel(host={PIN: 1})
    assert (read(vcpu, PIN), read(vcpu, PROC)) == (1, 0)
    assert not set_msr(vcpu, VMFUNC, 1).accepted
    vcpu.vm.disabled_quirks = 1 << 8
    assert (read(vcpu, PIN), set_msr(vcpu, PIN, 1).accepted, read(vcpu, PIN)) == (0, True, 1)


@pytest.mark.parametrize(("vmx", "nested"), [(True, "N"), (False, "Y")])
def test_they_need_vmx_and_nested_virtualization(vmx: bool, nested: str) -> None:
    vcpu = intel()
    vcpu.kvm.parameters = {**vcpu.kvm.parameters, "nested": nested}
    if not vmx:
        vcpu.guest.replace(tuple(entry for entry in vcpu.guest.entries if entry.leaf != 1))
    for index in (VMCS_ENUM, CR4_FIXED1):
        assert isinstance(read(vcpu, index), Refusal)
    assert not set_msr(vcpu, VMCS_ENUM, 0x2E).accepted
    assert VMCS_ENUM not in vcpu.msrs
