"""KVM as it is loaded on a host: release, vendor, what Linux makes of CPUID, and what is assumed where nobody tells."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.assumed import assumed_kvm, assumptions, kvm_on
from inspector.machine.x86.kvm.module import PVM, SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.parameters import default_parameters
from inspector.machine.x86.kvm.pebs import has_pebs
from layouts.x86.features import FEATURES
from layouts.x86.kernels import profile_for
from tests.machine.kvms import AMD_LEAF_0, INTEL_LEAF_0, LEAF_1, LEAF_80000001, kvm_of

ERMS = FEATURES["ERMS"]
Leaves = dict[tuple[int, int], CpuidValues]


def leaves_of(vendor: str = SVM, **more: CpuidValues) -> Leaves:
    """A plain CPU; ``leaf_7=(...)`` are leaves beside."""
    name = AMD_LEAF_0 if vendor == SVM else INTEL_LEAF_0
    found: Leaves = {(0, 0): name, (1, 0): LEAF_1}
    found |= {(0x80000000, 0): (0x8000000A, 0, 0, 0), (0x80000001, 0): LEAF_80000001}
    return found | {(int(key.removeprefix("leaf_"), 16), 0): values for key, values in more.items()}


def host_of(release: str, vendor: str = SVM, **more: CpuidValues) -> Host:
    return Host(Cpuid(leaves_of(vendor, **more)), profile_for(release))


@pytest.mark.parametrize(
    ("release", "numbers"),
    [
        ("6.12.107", (6, 12, 107)),
        ("6.12.107-amd64", (6, 12, 107)),
        ("6.12.107+deb13-amd64", (6, 12, 107)),
        ("6.18.30-61.116.amzn2023", (6, 18, 30)),
        ("6.12-amd64", (6, 12, 0)),
        ("6.12.x", (6, 12, 0)),
        ("7.2", (7, 2, 0)),
    ],
)
def test_a_release_by_its_numbers(release: str, numbers: tuple[int, ...]) -> None:
    assert Kvm(host_of("6.12"), release=release).release == numbers


def test_a_release_that_nobody_told_is_the_profiles() -> None:
    kernel = profile_for("6.12")
    assert Kvm(host_of("6.12")).release == tuple(map(int, kernel.version.split(".")))
    assert Kvm(host_of("6.12"), release="none").release == (0, 0, 0)


def test_since_counts_the_stable_number() -> None:
    kvm = Kvm(host_of("6.12"), release="6.12.107")
    asked = ((6, 12), (6, 12, 107), (6, 12, 108), (6, 13), (6, 11, 200), (7, 0))
    assert [kvm.since(*release) for release in asked] == [True, True, False, False, True, False]


@pytest.mark.parametrize(
    ("cpu", "vendor", "is_svm", "is_vmx", "is_pvm"),
    [
        (SVM, "", True, False, False),
        (VMX, "", False, True, False),
        (SVM, PVM, True, False, True),
        (VMX, PVM, False, True, True),
        (SVM, VMX, False, True, False),
    ],
)
def test_the_vendor_module(cpu: str, vendor: str, is_svm: bool, is_vmx: bool, is_pvm: bool) -> None:
    kvm = Kvm(host_of("6.12", cpu), release="6.12", vendor=vendor)
    assert (kvm.is_svm, kvm.is_vmx, kvm.is_pvm) == (is_svm, is_vmx, is_pvm)
    assert kvm.process().host is kvm.host


def test_a_register_of_the_cpu_itself() -> None:
    """raw_cpuid_get: 0 behind the last leaf of its range."""
    raw: Leaves = {(0, 0): (7, 0, 0, 0), (7, 0): (1, 2, 3, 4), (8, 0): (5, 6, 7, 8)}
    raw |= {(0x80000000, 0): (0x80000001, 0, 0, 0)}
    raw |= {(0x80000001, 0): (1, 2, 3, 4), (0x80000008, 0): (9, 9, 9, 9)}
    kvm = Kvm(host_of("6.12"), raw=Cpuid(raw))
    words = ((7, 0, 1), (8, 0, 1), (0x80000001, 0, 3), (0x80000008, 0, 0), (7, 1, 0), (0xC0000001, 0, 3))
    assert [kvm.raw_register(word) for word in words] == [2, 0, 4, 0, 0, 0]


@pytest.mark.parametrize(
    ("vendor", "fast_strings", "has_erms"), [(VMX, True, True), (VMX, False, False), (SVM, False, True)]
)
def test_intels_linux_takes_erms_without_fast_strings(vendor: str, fast_strings: bool, has_erms: bool) -> None:
    host = Host(Cpuid(leaves_of(vendor, leaf_7=(0, 0xFFFFFFFF, 5, 6))), profile_for("6.12"), emulated=not fast_strings)
    kvm = Kvm(host, release="6.12")
    kvm.__dict__["synthesized"] = frozenset()
    assert kvm.boot_word(ERMS[:3]) == 0xFFFFFFFF & ~(0 if has_erms else 1 << ERMS.bit)
    assert (kvm.boot_word((7, 0, 2)), kvm.boot_word((7, 1, 0))) == (5, 0)


def test_what_linux_concludes_is_in_its_words() -> None:
    kvm = Kvm(host_of("6.12", leaf_7=(0, 8, 0, 0)), release="6.12")
    kvm.__dict__["synthesized"] = frozenset({"AVX2", "NOT_A_FEATURE"})
    avx2 = FEATURES["AVX2"]
    assert kvm.boot_word(avx2[:3]) == 8 | 1 << avx2.bit
    assert kvm.boot_word((7, 0, 2)) == 0
    assert [kvm.boot_has(name) for name in ("AVX2", "BMI1", "NO_SUCH", "BMI2")] == [True, True, False, False]


def test_a_feature_of_kvm() -> None:
    kvm = kvm_of("6.12")
    for _ in range(2):
        assert [kvm.has(name) for name in ("X2APIC", "SGX")] == [True, False]


def test_bugs_are_those_that_were_read_or_concluded() -> None:
    host = host_of("6.12")
    for bugs, found in ((frozenset({"NULL_SEG"}), True), (frozenset(), False)):
        kvm = Kvm(host, processor=Processor(bugs=bugs))
        assert (kvm.has_bug("NULL_SEG"), kvm.has_bug("MONITOR")) == (found, False)
    assert Kvm(host).has_bug("SPEC_STORE_BYPASS")


def test_pebs_of_a_processor() -> None:
    """vmx_pebs_supported: by model and release, with the PMU and without the mediated one; no emulator has it."""
    ice_lake, sapphire_rapids, other = 0x000606A6, 0x000806F8, 0x000506E3
    on = {"enable_pmu": "Y", "enable_mediated_pmu": "N"}
    for release, signature, emulator, parameters, there in (
        ("6.0", ice_lake, "", on, True),
        ("5.19", ice_lake, "", on, False),
        ("6.1", sapphire_rapids, "", on, False),
        ("6.6", sapphire_rapids, "", on, True),
        ("6.6", other, "", on, False),
        ("6.6", ice_lake ^ 0x100, "", on, False),
        ("6.6", ice_lake, "bochs", on, False),
        ("6.6", ice_lake, "", {**on, "enable_pmu": "N"}, False),
        ("7.0", ice_lake, "", {**on, "enable_mediated_pmu": "Y"}, False),
    ):
        kvm = kvm_of(release, VMX, emulator=emulator, **parameters)
        kvm.host.cpuid.leaves[1, 0] = (signature, 0, 0, 0)  # type: ignore[index]
        assert has_pebs(kvm) is there, (release, hex(signature), parameters)
    kvm.host.cpuid.leaves.pop((1, 0))  # type: ignore[attr-defined]
    assert not has_pebs(kvm)


# Where nobody tells


def test_defaults_are_n_where_the_cpu_lacks_the_feature() -> None:
    def svm(features: tuple[str, ...], hybrid: int = 0) -> dict[str, str]:
        edx = sum(1 << FEATURES[name].bit for name in features)
        return default_parameters(Cpuid(leaves_of(leaf_8000000A=(0, 0, 0, edx), leaf_7=(0, 0, 0, hybrid))), SVM, (7, 2))

    assert (svm(("NPT",))["npt"], svm(())["npt"], svm(("GMET",))["gmet"], svm(())["gmet"]) == ("Y", "N", "Y", "N")
    assert (svm(())["enable_pmu"], svm((), 1 << FEATURES["HYBRID_CPU"].bit)["enable_pmu"]) == ("Y", "N")
    assert default_parameters(Cpuid({}), SVM, (7, 2))["npt"] == "Y"
    assert default_parameters(Cpuid({}), SVM, (7, 2))["enable_pmu"] == "Y"
    assert default_parameters(Cpuid({}), PVM, (7, 2)) == {}


def test_kvm_on_a_host() -> None:
    for vendor in (SVM, VMX):
        kvm = kvm_on(host_of("6.5", vendor))
        assert (kvm.vendor, kvm.release[:2]) == (vendor, (6, 5))
        assert kvm.parameters == default_parameters(kvm.host.cpuid, vendor, (6, 5))
    kernel = profile_for("6.12")
    assert kvm_on(host_of("6.12")).release == tuple(map(int, kernel.version.split(".")))


@pytest.mark.parametrize(
    ("release", "numbers"),
    [("6.12", tuple(map(int, profile_for("6.12").version.split(".")))), ("6.12.5", (6, 12, 5)), ("6.5", (6, 5, 0))],
)
def test_a_release_without_an_update_is_the_one_that_was_read(release: str, numbers: tuple[int, ...]) -> None:
    assert assumed_kvm(Cpuid(leaves_of()), release).release == numbers


@pytest.mark.parametrize("vendor", [SVM, VMX])
def test_parameters_that_somebody_set_win(vendor: str) -> None:
    raw = Cpuid(leaves_of(vendor))
    kvm = assumed_kvm(raw, "6.12", parameters={"nested": "?", "own": "1"})
    defaults = default_parameters(kvm.host.cpuid, vendor, (6, 12))
    assert (kvm.vendor, kvm.raw) == (vendor, raw)
    assert kvm.parameters == {**defaults, "nested": "?", "own": "1"}
    assert kvm.host.cpuid.leaves != raw.leaves or not raw.get(7)


@pytest.mark.parametrize("has_mpx", [True, False])
def test_vmx_has_mpx_where_the_cpu_has(has_mpx: bool) -> None:
    bit = 1 << FEATURES["MPX"].bit if has_mpx else 0
    kvm = assumed_kvm(Cpuid(leaves_of(VMX, leaf_7=(0, bit, 0, 0))), "6.12", processor=Processor(tsc_khz=5))
    assert (kvm.processor.vmx_mpx, kvm.host.vmx_mpx, kvm.processor.tsc_khz) == (has_mpx, has_mpx, 5)


@pytest.mark.parametrize(
    ("vendor", "feature", "shows"), [(SVM, "SVM", True), (SVM, "SVM", False), (VMX, "VMX", True), (VMX, "VMX", False)]
)
def test_what_is_assumed_is_said(vendor: str, feature: str, shows: bool) -> None:
    leaf_1, leaf_8 = list(LEAF_1), list(LEAF_80000001)
    leaf_1[2] = leaf_1[2] & ~(1 << 5) | (1 << 5 if shows else 0)
    leaf_8[2] = leaf_8[2] & ~4 | (4 if shows else 0)
    raw = Cpuid(leaves_of(vendor, leaf_1=tuple(leaf_1), leaf_80000001=tuple(leaf_8)))  # type: ignore[arg-type]
    kvm = Kvm(Host(raw, profile_for("6.12")), parameters={"a": "1", "b": "Y", "c": "N", "d": "0"})
    *hidden, parameters, features = assumptions(kvm)
    assert hidden == ([] if shows else [f"the CPU has {feature}, which its CPUID does not show"])
    assert parameters == "module parameters at their defaults: a, b on; c, d off"
    assert features.startswith("Linux has every feature of the CPU: no clearcpuid=")
