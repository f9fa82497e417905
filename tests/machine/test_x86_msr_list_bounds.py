"""Which MSRs KVM lists, and which of them the processor has: each by the host's facts, by release.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), kvm_probe_msr_to_save, kvm_init_msr_lists; svm/svm.c and
vmx/vmx.c, has_emulated_msr; Intel SDM vol. 4 (2.1).
"""

from __future__ import annotations

from typing import Any

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.msrs.access import never_takes
from inspector.machine.x86.kvm.msrs.silicon import reads
from inspector.machine.x86.kvm.msrs.table import table_of
from tests.machine.kvms import kvm_of, named, offers

ARCH_CAPABILITIES, PERF_CAPABILITIES, PLATFORM_INFO = 0x10A, 0x345, 0xCE


@pytest.mark.parametrize(
    ("release", "vendor", "features", "parameters", "index", "listed"),
    [
        # kvm_probe_msr_to_save and has_emulated_msr, on an emulator that reads every MSR.
        ("6.12", VMX, ("MPX",), {}, 0xD90, True),
        ("6.12", VMX, (), {}, 0xD90, False),
        ("6.12", SVM, ("MPX",), {}, 0xD90, False),
        ("6.1", VMX, ("RDPID",), {}, 0xC0000103, True),
        ("6.0.9", VMX, ("RDPID",), {}, 0xC0000103, False),
        ("6.0.9", VMX, ("RDTSCP",), {}, 0xC0000103, True),
        ("6.12", VMX, (), {}, 0xC0000103, False),
        ("6.12", VMX, ("WAITPKG",), {}, 0xE1, True),
        ("6.12", VMX, (), {}, 0xE1, False),
        ("6.12", VMX, ("XFD",), {}, 0x1C4, True),
        ("6.12", VMX, (), {}, 0x1C4, False),
        ("6.1", VMX, ("XFD",), {}, 0x1C5, True),
        ("6.18", VMX, ("IBT",), {}, 0x6A0, True),
        ("6.18", VMX, ("SHSTK",), {}, 0x6A0, True),
        ("6.18", VMX, (), {}, 0x6A0, False),
        ("6.17", VMX, ("SHSTK", "IBT"), {}, 0x6A0, False),
        ("6.18", VMX, ("IBT",), {}, 0x6A4, False),
        ("6.18", VMX, ("SHSTK",), {}, 0x6A4, True),
        ("6.18", VMX, ("SHSTK",), {}, 0x6A8, True),
        ("6.18", VMX, ("IBT",), {}, 0x6A8, False),
        ("6.12", SVM, (), {}, 0xC001011F, True),
        ("6.12", VMX, (), {}, 0xC001011F, False),
        ("6.1", SVM, (), {}, 0xC0000104, True),
        ("6.0.9", SVM, (), {}, 0xC0000104, False),
        ("6.12", VMX, (), {}, 0x4D0, True),
        ("6.12", SVM, (), {}, 0x4D0, False),
        ("6.12", VMX, (), {"nested": "Y"}, 0x480, True),
        ("6.12", VMX, (), {"nested": "N"}, 0x480, False),
        ("6.12", SVM, (), {"nested": "Y"}, 0x480, False),
        *(
            ("6.12", VMX, (), {"unrestricted_guest": a, "emulate_invalid_guest_state": b}, 0x9E, "Y" in a + b)
            for a in "YN"
            for b in "YN"
        ),
        ("6.12", SVM, (), {"unrestricted_guest": "N", "emulate_invalid_guest_state": "N"}, 0x9E, True),
        ("6.1", SVM, (), {}, 0x40000118, False),
        ("6.2", SVM, (), {}, 0x40000118, True),
        # With the PMU off none of its MSRs from 6.2 on.
        ("6.6", VMX, (), {"enable_pmu": "N"}, 0x38D, False),
        ("6.6", VMX, (), {"enable_pmu": "Y"}, 0x38D, True),
        ("6.1", VMX, (), {"enable_pmu": "N"}, 0x38D, True),
        ("6.1", VMX, (), {"enable_pmu": "N"}, 0x309, True),
        ("6.6", VMX, (), {"enable_pmu": "Y"}, 0x309, False),
        ("6.1", VMX, (), {}, 0x390, True),
        ("6.12", VMX, (), {"enable_pmu": "Y"}, 0x390, False),
        ("5.10", VMX, (), {}, 0x3F1, False),
        ("6.1", VMX, (), {}, 0x3F1, True),
        ("6.6", SVM, ("PERFMON_V2",), {"enable_pmu": "Y"}, 0xC0000300, True),
        ("6.6", SVM, (), {"enable_pmu": "Y"}, 0xC0000300, False),
        ("6.1", SVM, ("PERFMON_V2",), {}, 0xC0000300, False),
        ("6.18", SVM, ("PERFMON_V2",), {"enable_pmu": "Y"}, 0xC0000303, True),
        ("6.18", SVM, (), {"enable_pmu": "Y"}, 0xC0000303, False),
        ("6.16", SVM, ("PERFMON_V2",), {"enable_pmu": "Y"}, 0xC0000303, False),
    ],
)
def test_lists(
    release: str, vendor: str, features: tuple[str, ...], parameters: dict[str, str], index: int, listed: bool
) -> None:
    kvm = kvm_of(release, vendor, **parameters)
    offers(kvm, *features, lacks=("RDTSCP", "RDPID"))
    assert (index in table_of(kvm).indexes) is listed


@pytest.mark.parametrize(
    ("index", "value", "parameters", "never"),
    [
        # No such MSR, or one that is read only; 0 where it is listed, and everything with ignore_msrs, are taken.
        (0x4D1, 0, {}, True),
        (0x17, 0, {}, True),
        (0xC0010200, 0, {}, False),
        (0xC0010200, 1, {}, True),
        (0xC0010200, 1, {"ignore_msrs": "Y"}, False),
        (0x4D1, 0, {"ignore_msrs": "Y"}, False),
        # A state of the vCPU decides.
        (0xC0000082, 1, {}, False),
        (ARCH_CAPABILITIES, 1, {}, False),
    ],
)
def test_values_that_no_vcpu_takes(index: int, value: int, parameters: dict[str, str], never: bool) -> None:
    assert never_takes(kvm_of("6.12", VMX, enable_pmu="Y", **parameters), index, value) is never


def test_the_pmus_are_listed_where_nobody_turned_it_off() -> None:
    kvm = kvm_of("6.6", VMX)
    kvm.parameters = {}
    assert 0x38D in table_of(kvm).saved


def test_shadow_stacks_without_long_mode_have_no_table() -> None:
    kvm = kvm_of("6.18", VMX)
    offers(kvm, "SHSTK", lacks=("LM",))
    assert {0x6A4, 0x6A8} & set(table_of(kvm).indexes) == {0x6A4}


@pytest.mark.parametrize(
    ("release", "msr", "listed"), [("6.1", 1 << 7, False), ("6.6", 1 << 7, True), ("6.6", 1 << 6, False)]
)
def test_tsx_control_is_listed_where_the_host_has_it(release: str, msr: int, listed: bool) -> None:
    kvm = named(kvm_of(release, VMX), "ARCH_CAPABILITIES")
    kvm.processor = Processor(emulator="tcg", msrs={ARCH_CAPABILITIES: msr})
    assert (0x122 in table_of(kvm).saved) is listed


def test_xss_is_listed_where_kvm_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    for xss, listed in ((0, False), (0x800, True)):
        monkeypatch.setattr(Kvm, "xss", xss)
        assert (0xDA0 in table_of(kvm_of("6.18", VMX)).saved) is listed


@pytest.mark.parametrize(
    ("leaf", "ranges", "listed"),
    [
        # Processor trace: by CPUID(0x14,0).EBX[0], ECX[0] or ECX[2], and (0x14,1).EAX[2:0] pairs of addresses.
        (None, None, {0x570, 0x571}),
        ((0, 1, 0, 0), (0, 0, 0, 0), {0x570, 0x571, 0x572}),
        ((0, 0, 1, 0), (0, 7, 7, 7), {0x570, 0x571, 0x560, 0x561}),
        ((0, 0, 4, 0), (1, 0, 0, 0), {0x570, 0x571, 0x560, 0x561, 0x580, 0x581}),
        ((1, 2, 2, 1), (8, 0, 0, 0), {0x570, 0x571}),
        ((0, 0, 0, 0), (4, 0, 0, 0), {0x570, 0x571, *range(0x580, 0x588)}),
        ((0, 0, 0, 0), (3, 0, 0, 0), {0x570, 0x571, *range(0x580, 0x586)}),
    ],
)
def test_processor_trace(leaf: CpuidValues | None, ranges: CpuidValues | None, listed: set[int]) -> None:
    trace = {0x560, 0x561, 0x570, 0x571, 0x572, *range(0x580, 0x588)}
    for features, found in ((("INTEL_PT",), listed), ((), set[int]())):
        kvm = kvm_of("6.12", VMX)
        if leaf and ranges:
            kvm.host.cpuid.leaves.update({(0x14, 0): leaf, (0x14, 1): ranges, (0x14, 2): (7, 7, 7, 7)})
        offers(kvm, *features)
        assert trace & set(table_of(kvm).saved) == found


@pytest.mark.parametrize(
    ("release", "leaf_a", "listed"),
    [
        # The counters that the host has, and no more than KVM has (kvm_pmu_cap); all fixed ones up to 6.1.
        ("6.6", (2 | 4 << 8 | 48 << 16, 0, 0, 2), {*range(0xC1, 0xC5), *range(0x186, 0x18A), 0x309, 0x30A}),
        ("6.6", (2 | 9 << 8 | 48 << 16, 0, 0, 9), {*range(0xC1, 0xC9), *range(0x186, 0x18E), 0x309, 0x30A, 0x30B}),
        ("6.1", (2 | 1 << 8 | 48 << 16, 0, 0, 1), {0xC1, 0x186, 0x309, 0x30A, 0x30B}),
    ],
)
def test_counters_are_listed(release: str, leaf_a: CpuidValues, listed: set[int]) -> None:
    kvm = kvm_of(release, VMX, enable_pmu="Y")
    kvm.raw.leaves[0xA, 0] = leaf_a
    ranges = {*range(0xC1, 0xD3), *range(0x186, 0x198), *range(0x309, 0x30D)}
    assert set(table_of(kvm).saved) & ranges == listed


def test_what_is_frozen_by_release() -> None:
    """kvm_is_immutable_feature_msr: none before 6.4, PLATFORM_INFO from 6.15 on; the microcode's revision never."""
    frozen = {release: table_of(kvm_of(release, VMX)).frozen for release in ("6.1", "6.6", "6.16")}
    base = {*range(0x480, 0x492), 0xC0011029, ARCH_CAPABILITIES, PERF_CAPABILITIES}
    assert frozen == {"6.1": frozenset(), "6.6": base, "6.16": base | {PLATFORM_INFO}}


def test_the_order_of_vmx_features_by_release() -> None:
    found = {release: table_of(kvm_of(release, VMX, nested="Y")).features[:3] for release in ("6.1", "6.6")}
    assert found == {"6.1": (0x480, 0x48D, 0x481), "6.6": (0x480, 0x481, 0x482)}


# The processor


@pytest.mark.parametrize(
    ("vendor", "features", "leaf_a", "index", "has"),
    [
        *(
            (VMX, (feature,), None, index, True)
            for index, feature in (
                (0xC0000103, "RDTSCP"),
                (0xC0000103, "RDPID"),
                (0x48, "SPEC_CTRL"),
                (0x48, "AMD_IBRS"),
                (0x48, "AMD_STIBP"),
                (0x48, "AMD_SSBD"),
                (0x48, "SPEC_CTRL_SSBD"),
                (0xD90, "MPX"),
                (0xE1, "WAITPKG"),
                (0x3A, "VMX"),
                (0x3A, "SMX"),
                (0x3A, "SGX"),
                (0xC0010117, "SVM"),
                (0x1C4, "XFD"),
                (0xDA0, "XSAVES"),
                (0x6A0, "SHSTK"),
                (0x6A2, "IBT"),
                (0x6A8, "SHSTK"),
                (0x587, "INTEL_PT"),
                (0x600, "DS"),
            )
        ),
        *(
            (VMX, (), None, index, False)
            for index in (0x48, 0xD90, 0xE1, 0x3A, 0x1C4, 0xDA0, 0x6A0, 0x6A4, 0x560, 0x600)
        ),
        # The last branch, where there are no architectural ones; its exception's always.
        (VMX, (), None, 0x1DB, True),
        (VMX, ("ARCH_LBR",), None, 0x1DB, False),
        (VMX, ("ARCH_LBR",), None, 0x1DC, False),
        (VMX, ("ARCH_LBR",), None, 0x1DD, True),
        # K7's counters are AMD's.
        (SVM, (), None, 0xC0010000, True),
        (VMX, (), None, 0xC0010007, False),
        # Architectural counters by leaf 0xA: none without a version, or on AMD.
        (VMX, (), None, 0xC1, False),
        (VMX, (), (4 << 8, 0, 0, 3), 0xC1, False),
        (VMX, (), (1 << 8, 1, 1, 1), 0xC1, False),
        (SVM, (), (2 | 4 << 8, 0, 0, 3), 0xC1, False),
        (VMX, (), (2 | 4 << 8, 0, 0, 3), 0xC4, True),
        (VMX, (), (2 | 4 << 8, 0, 0, 3), 0xC5, False),
        (VMX, (), (2 | 4 << 8, 0, 0, 3), 0x189, True),
        (VMX, (), (2 | 4 << 8, 0, 0, 3), 0x18A, False),
        (VMX, (), (2 | 4 << 8, 0, 0, 3), 0x30B, True),
        (VMX, (), (2 | 4 << 8, 0, 0, 3 | 1 << 5), 0x30C, False),
        (VMX, (), (1 | 4 << 8, 0, 0, 3), 0x38F, False),
        (VMX, (), (2 | 4 << 8, 0, 0, 3), 0x38F, True),
        (VMX, (), (4 | 4 << 8, 0, 0, 3), 0x3F2, False),
        (VMX, (), (5 | 4 << 8, 0, 0, 3), 0x3F2, True),
        # Any other.
        (VMX, (), None, 0x10, True),
    ],
)
def test_what_rdmsr_reads(
    vendor: str, features: tuple[str, ...], leaf_a: CpuidValues | None, index: int, has: bool
) -> None:
    kvm = kvm_of("6.12", vendor)
    # A CPU of which only the features asked about are there.
    edx = kvm.raw.leaves[0x80000001, 0][3] & ~(1 << 27)
    kvm.raw.leaves[0x80000001, 0] = (0, 0, 0, edx)
    if leaf_a:
        kvm.raw.leaves[0xA, 0] = leaf_a
    assert reads(named(kvm, *features), index) is has


@pytest.mark.parametrize(
    ("processor", "index", "has"),
    [
        ({"emulator": "tcg", "absent": frozenset({0x10})}, 0x10, True),
        ({"emulator": "bochs"}, 0x48, True),
        ({"absent": frozenset({0x10})}, 0x10, False),
        ({"msrs": {ARCH_CAPABILITIES: 1 << 7}}, 0x122, True),
        ({"msrs": {ARCH_CAPABILITIES: ~(1 << 7)}}, 0x122, False),
        ({}, 0x122, False),
        ({}, 0x123, True),
    ],
)
def test_what_else_rdmsr_depends_on(processor: dict[str, Any], index: int, has: bool) -> None:
    kvm = kvm_of("6.12", VMX)
    kvm.processor = Processor(**processor)
    assert reads(kvm, index) is has
