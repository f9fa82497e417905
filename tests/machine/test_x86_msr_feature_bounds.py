"""Feature MSRs: what each says of the host, and what a VMM may set, by release.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), kvm_get_feature_msr, kvm_get_arch_capabilities.
"""

from __future__ import annotations

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.msrs.access import read, read_feature, set_msr
from inspector.machine.x86.kvm.msrs.features import arch_capabilities, de_cfg, perf_capabilities, shown
from inspector.machine.x86.kvm.whole import WholeVcpu
from layouts.x86.msr_rules import RULES, rules_for
from tests.machine.kvms import COUNTERS, commands, give, kept, kvm_of, named, unlisted, vcpu_with, vcpu_with_counters

ARCH_CAPABILITIES, PERF_CAPABILITIES, PLATFORM_INFO, UCODE_REV, MISC_FEATURES = 0x10A, 0x345, 0xCE, 0x8B, 0x140
FAULT, ALL = 1 << 31, (1 << 64) - 1
BUGS = frozenset(("CPU_MELTDOWN", "SPEC_STORE_BYPASS", "MDS", "GDS", "RFDS", "ITS", "TAA"))
NEVER = {"vmentry_l1d_flush": "never"}
#: ARCH_CAPABILITIES of a CPU without a bug, of which the host has none.
HEALTHY = 1 << 6 | 1 << 3 | 1 | 1 << 4 | 1 << 5 | 1 << 26


def host(release: str, msr: int = 0, *features: str, bugs: frozenset[str] = BUGS, **parameters: str) -> Kvm:
    """KVM on Intel's silicon whose ARCH_CAPABILITIES is ``msr``, with bugs, and without flushes of the L1D."""
    kvm = named(kvm_of(release, VMX, **{**NEVER, **parameters}), *features)
    kvm.processor = Processor(msrs={ARCH_CAPABILITIES: msr} if msr else {}, bugs=bugs, microcode=0x1000065)
    return kvm


@pytest.mark.parametrize(
    ("release", "msr", "features", "without", "parameters", "value"),
    [
        # PSCHANGE_MC_NO is always there; the host's own where Linux has the MSR, as far as KVM passes it.
        ("6.12", 0, (), "", {}, 1 << 6),
        ("6.12", ALL, (), "", {}, 1 << 6),
        ("6.12", 1 << 1 | 1 << 9, ("ARCH_CAPABILITIES",), "", {}, 1 << 6 | 1 << 1),
        ("6.12", 0, ("ARCH_CAPABILITIES",), "", {}, 1 << 6),
        # Flushes of the L1D: any way but "never".
        ("6.12", 0, (), "", {"vmentry_l1d_flush": "cond"}, 1 << 6 | 1 << 3),
        ("6.12", 0, (), "", {"vmentry_l1d_flush": ""}, 1 << 6 | 1 << 3),
        # What Linux knows the CPU to be free of; ITS and RFDS where the release passes them.
        ("6.12", 0, (), "CPU_MELTDOWN", {}, 1 << 6 | 1),
        ("6.12", 0, (), "SPEC_STORE_BYPASS", {}, 1 << 6 | 1 << 4),
        ("6.12", 0, (), "MDS", {}, 1 << 6 | 1 << 5),
        ("6.12", 0, (), "GDS", {}, 1 << 6 | 1 << 26),
        ("6.12", 0, (), "RFDS", {}, 1 << 6 | 1 << 27),
        ("6.12", 0, (), "ITS", {}, 1 << 6 | 1 << 62),
        ("6.6", 0, (), "RFDS", {}, 1 << 6),
        ("6.6", 0, (), "ITS", {}, 1 << 6),
        # Microcode that mitigates GDS (GDS_CTRL) counts, but for a guest of a hypervisor.
        ("6.12", 1 << 25, ("ARCH_CAPABILITIES",), "", {}, 1 << 6 | 1 << 26),
        ("6.12", 1 << 25, ("ARCH_CAPABILITIES", "HYPERVISOR"), "", {}, 1 << 6),
        # TAA_NO goes without RTM, comes with RTM where there is no TAA.
        ("6.12", 1 << 8, ("ARCH_CAPABILITIES",), "", {}, 1 << 6),
        ("6.12", 0, (), "TAA", {}, 1 << 6),
        ("6.12", 0, ("RTM",), "TAA", {}, 1 << 6 | 1 << 8),
        ("6.12", 0, ("RTM",), "", {}, 1 << 6),
        ("6.12", 1 << 8, ("RTM", "ARCH_CAPABILITIES"), "", {}, 1 << 6 | 1 << 8),
    ],
)
def test_arch_capabilities(
    release: str, msr: int, features: tuple[str, ...], without: str, parameters: dict[str, str], value: int
) -> None:
    kvm = host(release, msr, *features, bugs=BUGS - {without}, **parameters)
    assert arch_capabilities(kvm, rules_for(kvm.release)) == value


def test_without_a_parameter_the_l1d_is_flushed() -> None:
    kvm = named(kvm_of("6.12", VMX))
    assert arch_capabilities(kvm, kvm.msr_rules) >> 3 & 1


@pytest.mark.parametrize("series", RULES)
def test_which_bits_a_release_may_show(series: tuple[int, int]) -> None:
    """What it passes on, and what it makes of bugs, of the parameter and of its own (PSCHANGE_MC_NO)."""
    made = 1 << 6 | 1 << 3 | 1 | 1 << 4 | 1 << 5 | 1 << 26 | 1 << 8
    assert shown((*series, 0), ARCH_CAPABILITIES) == rules_for((*series, 0)).arch_capabilities | made


@pytest.mark.parametrize(
    ("release", "vendor", "quirk", "begins"),
    [
        # From 6.13 on (KVM_X86_QUIRK_STUFF_FEATURE_MSRS, in updates of 6.12) they begin as 0 without the quirk.
        ("6.6", SVM, True, (FAULT, 0x01000065, HEALTHY)),
        ("6.6", SVM, False, (FAULT, 0x01000065, HEALTHY)),
        ("6.12", SVM, True, (FAULT, 0x01000065, HEALTHY | 1 << 27 | 1 << 62)),
        ("6.12", VMX, True, (FAULT, 1 << 32, HEALTHY | 1 << 27 | 1 << 62)),
        ("6.12", SVM, False, (0, 0, 0)),
    ],
)
def test_what_feature_msrs_begin_with(release: str, vendor: str, quirk: bool, begins: tuple[int, ...]) -> None:
    vcpu = give(vcpu_with(release, vendor), "ARCH_CAPABILITIES")
    vcpu.vm.disabled_quirks = 0 if quirk else 1 << 8
    indexes = (PLATFORM_INFO, UCODE_REV, ARCH_CAPABILITIES)
    assert tuple(read(vcpu, index) for index in indexes) == begins
    assert [kept(vcpu, index, FAULT | 5) for index in indexes] == [FAULT | 5] * 3


@pytest.mark.parametrize(("release", "needs"), [("6.12", False), ("6.16", True)])
@pytest.mark.parametrize(("index", "feature"), [(ARCH_CAPABILITIES, "ARCH_CAPABILITIES"), (PERF_CAPABILITIES, "PDCM")])
def test_feature_msrs_that_need_their_bit(release: str, needs: bool, index: int, feature: str) -> None:
    for features in ((), (feature,)):
        vcpu = unlisted(give(vcpu_with(release, VMX), *features))
        has = bool(features) or not needs
        assert isinstance(read(vcpu, index), int) is has
        assert kept(vcpu, index, 0) == (0 if has else None)


@pytest.mark.parametrize(
    ("release", "quirk", "begins"),
    # PERF_CAPABILITIES begins as what KVM supports: from 6.2 on, with the quirk.
    [("6.1", True, 0), ("6.6", True, 0x2400 | 1 << 14), ("6.12", True, 0x2400), ("6.12", False, 0)],
)
def test_what_perf_capabilities_begins_with(release: str, quirk: bool, begins: int) -> None:
    vcpu = vcpu_with_counters(release)
    del vcpu.msrs[PERF_CAPABILITIES]
    vcpu.vm.disabled_quirks = 0 if quirk else 1 << 8
    assert read(vcpu, PERF_CAPABILITIES) == begins
    assert perf_capabilities(vcpu_with_counters(release, SVM).kvm) == 0


@pytest.mark.parametrize(
    ("release", "counters", "value", "accepted"),
    [
        # vmx_set_msr: before 6.13 a guest without counters has none; formats are looked at from 5.12 on.
        ("6.12", (0, 0, 0, 0), 0x2000, False),
        ("6.13", (0, 0, 0, 0), 0x2000, True),
        ("6.12", COUNTERS, 0x2000, True),
        ("5.11", COUNTERS, 0x2000, True),
        ("6.12", COUNTERS, 1, False),
        ("6.12", COUNTERS, 1 << 40, False),
    ],
)
def test_perf_capabilities_of_guests(release: str, counters: CpuidValues, value: int, accepted: bool) -> None:
    vcpu = vcpu_with_counters(release, leaf_a=counters)
    assert kept(vcpu, PERF_CAPABILITIES, value) == (value if accepted else None)


def test_what_a_format_has_to_be() -> None:
    """The host's of PEBS, all of it; AMD has none."""
    vcpu = vcpu_with_counters("6.6")
    vcpu.kvm.processor = vcpu.kvm.processor._replace(msrs={PERF_CAPABILITIES: 0x6740})
    assert "is the host's (0x4740), or none" in set_msr(vcpu, PERF_CAPABILITIES, 0x400).because
    assert commands(vcpu_with_counters("6.12", SVM), PERF_CAPABILITIES, 0, 1) == [True, False]


def test_cpuid_faults_only_where_they_are_offered() -> None:
    """MISC_FEATURES_ENABLES: bit 0 alone, while PLATFORM_INFO has bit 31; which then stays, until 6.15."""
    vcpu = vcpu_with("6.12")
    assert [kept(vcpu, PLATFORM_INFO, value) for value in (0, FAULT)] == [0, FAULT]
    assert [kept(vcpu, MISC_FEATURES, value) for value in (0, 2, 1)] == [0, None, 1]
    assert [kept(vcpu, PLATFORM_INFO, value) for value in (FAULT | 1, 1)] == [FAULT | 1, None]
    assert [kept(vcpu, MISC_FEATURES, 0), kept(vcpu, PLATFORM_INFO, 1)] == [0, 1]
    assert [kept(vcpu, MISC_FEATURES, value) for value in (1, 0)] == [None, 0]
    vcpu.msrs[MISC_FEATURES] = 2
    assert kept(vcpu, PLATFORM_INFO, 0) == 0


def test_feature_msrs_of_the_host() -> None:
    """kvm_get_feature_msr, svm_get_feature_msr, vmx_get_feature_msr."""
    amd, intel = WholeVcpu(kvm_of("7.2", emulator="")), WholeVcpu(host("7.2", nested="Y"))
    intel.kvm.processor = intel.kvm.processor._replace(features={0x480: 7, 0x491: 1})
    assert [read_feature(amd, index) for index in (0xC0011029, PLATFORM_INFO, UCODE_REV)] == [2, FAULT, 0x1000065]
    assert [read_feature(intel, index) for index in (0x480, 0x491, ARCH_CAPABILITIES)] == [7, 1, 1 << 6]
    assert read_feature(intel, PERF_CAPABILITIES) == perf_capabilities(intel.kvm)
    amd.kvm.boot_has = lambda feature: feature != "XMM2"  # type: ignore[method-assign]
    assert de_cfg(amd.kvm) == 0
