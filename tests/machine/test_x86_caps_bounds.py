"""kvm_cpu_caps: what KVM adds to and takes from what Linux has, by feature, release, vendor and parameter.

Source: Linux arch/x86/kvm/cpuid.c (kvm_set_cpu_caps), svm/svm.c (svm_set_cpu_caps), vmx/vmx.c (vmx_set_cpu_caps).
"""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm import caps
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from layouts.x86.features import FEATURES, WORDS
from tests.machine.kvms import kvm_of

#: Vulnerabilities without which KVM shows nothing more.
BUGS = ("SPEC_STORE_BYPASS", "NULL_SEG", "EIBRS_PBRSB")
_KVM_ONLY = (0x80000021, 0, 2)


def kvm_with(
    release: str, vendor: str = SVM, has: tuple[str, ...] = (), bugs: tuple[str, ...] = BUGS, **parameters: str
) -> Kvm:
    """KVM whose Linux concludes these features and finds these bugs, on a CPU whose CPUID shows nothing."""
    kvm = kvm_of(release, vendor, **{"nested": "0", "unrestricted_guest": "Y", **parameters})
    kvm.boot_has = lambda name: name in has  # type: ignore[method-assign]
    kvm.boot_word = lambda _: 0  # type: ignore[method-assign]
    kvm.__dict__["_bugs"] = frozenset(bugs)
    return kvm


def names_of(kvm: Kvm) -> frozenset[str]:
    """The features that KVM has for guests."""
    made = caps.cpu_caps(kvm)
    return frozenset(name for name in FEATURES if made.has(name))


def gained(
    release: str, vendor: str = SVM, has: tuple[str, ...] = (), bugs: tuple[str, ...] = BUGS, **parameters: str
) -> set[str]:
    """Features that guests have more, or no longer, than without any of this."""
    found = names_of(kvm_with(release, vendor, has, bugs, **parameters))
    return set(found ^ names_of(kvm_with(release, vendor)))


@pytest.mark.parametrize("vendor", [SVM, VMX])
@pytest.mark.parametrize(
    ("releases", "has", "more"),
    [
        (("5.10", "6.13"), ("IBPB", "IBRS"), {"SPEC_CTRL", "AMD_IBPB", "AMD_IBRS"}),
        (("6.14", "7.2"), ("IBPB", "IBRS"), {"AMD_IBPB", "AMD_IBRS"}),
        (("5.10", "7.2"), ("IBPB",), {"AMD_IBPB"}),
        (("5.10", "7.2"), ("IBRS",), {"AMD_IBRS"}),
        (("6.14", "7.2"), ("AMD_IBPB_RET", "AMD_IBPB", "AMD_IBRS"), {"SPEC_CTRL"}),
        (("5.10", "6.13"), ("AMD_IBPB_RET", "AMD_IBPB", "AMD_IBRS"), set()),
        (("6.14",), ("AMD_IBPB", "AMD_IBRS"), set()),
        (("6.14",), ("AMD_IBPB_RET", "AMD_IBRS"), set()),
        (("6.14",), ("AMD_IBPB_RET", "AMD_IBPB"), set()),
        (("5.10", "7.2"), ("STIBP",), {"INTEL_STIBP", "AMD_STIBP"}),
        (("5.10", "7.2"), ("SPEC_CTRL_SSBD",), {"AMD_SSBD"}),
        (("5.10", "7.2"), ("SPEC_CTRL",), set()),
    ],
)
def test_speculation_controls(vendor: str, releases: tuple[str, ...], has: tuple[str, ...], more: set[str]) -> None:
    for release in releases:
        assert gained(release, vendor, has) == more, release


def test_each_vendor_tells_of_ssbd_as_it_can() -> None:
    """VIRT_SSBD is for guests of AMD, whose Linux does it by LS_CFG or by the MSR; by LS_CFG alone for others."""
    assert gained("6.12", SVM, ("AMD_SSBD",)) == {"SPEC_CTRL_SSBD", "VIRT_SSBD"}
    assert gained("6.12", VMX, ("AMD_SSBD",)) == {"SPEC_CTRL_SSBD"}
    for vendor in (SVM, VMX):
        assert gained("6.12", vendor, ("LS_CFG_SSBD",)) == {"VIRT_SSBD"}
    assert gained("6.12", VMX, ("LS_CFG_SSBD", "AMD_SSBD")) == {"SPEC_CTRL_SSBD"}


@pytest.mark.parametrize(
    ("release", "bug", "has", "more"),
    [
        ("5.10", "SPEC_STORE_BYPASS", (), {"AMD_SSB_NO"}),
        ("7.2", "SPEC_STORE_BYPASS", (), {"AMD_SSB_NO"}),
        ("5.19", "NULL_SEG", (), set()),
        ("6.0", "NULL_SEG", (), {"NULL_SEL_CLR_BASE"}),
        ("6.12", "NULL_SEG", (), {"NULL_SEL_CLR_BASE"}),
        ("6.13", "EIBRS_PBRSB", ("IBPB", "SPEC_CTRL"), {"AMD_IBPB"}),
        ("6.14", "EIBRS_PBRSB", ("IBPB", "SPEC_CTRL"), {"AMD_IBPB", "AMD_IBPB_RET"}),
        ("6.14", "EIBRS_PBRSB", ("SPEC_CTRL",), set()),
        ("6.14", "EIBRS_PBRSB", ("IBPB",), {"AMD_IBPB"}),
    ],
)
def test_a_cpu_without_a_bug(release: str, bug: str, has: tuple[str, ...], more: set[str]) -> None:
    assert gained(release, has=has, bugs=tuple(name for name in BUGS if name != bug)) == more
    with_bugs = names_of(kvm_with(release, has=has))
    assert not with_bugs & {"AMD_SSB_NO", "NULL_SEL_CLR_BASE", "AMD_IBPB_RET"}


# SVM

NESTED = {"SVM", "NPT", "NRIPS"}
NESTED_6_0 = {"TSCRATEMSR", "V_VMSAVE_VMLOAD", "LBRV", "VGIF", "VMCBCLEAN", "SVME_ADDR_CHK"}
OF_6_0 = dict.fromkeys(("npt", "nrips", "tsc_scaling", "vls", "lbrv", "vgif", "vnmi", "gmet"), "1")


@pytest.mark.parametrize(
    ("release", "more"),
    [
        ("5.19", NESTED),
        ("6.0", NESTED | NESTED_6_0 | {"VNMI", "GMET"}),
        ("6.6", NESTED | NESTED_6_0 | {"VNMI", "GMET"}),
        ("6.7", NESTED | NESTED_6_0 | {"VNMI", "GMET", "FLUSHBYASID"}),
        ("7.2", NESTED | NESTED_6_0 | {"VNMI", "GMET", "FLUSHBYASID"}),
    ],
)
def test_what_nesting_brings_on_svm(release: str, more: set[str]) -> None:
    assert gained(release, SVM, nested="1", **OF_6_0) == more
    off = dict.fromkeys(OF_6_0, "0") | {"npt": "1"}
    hang = {"TSCRATEMSR", "V_VMSAVE_VMLOAD", "LBRV", "VGIF", "VNMI", "GMET", "NRIPS"}
    assert gained(release, SVM, nested="1", **off) == more - hang
    assert gained(release, SVM, nested="0", **OF_6_0) == set()


@pytest.mark.parametrize("feature", ["PAUSEFILTER", "PFTHRESHOLD"])
@pytest.mark.parametrize(
    ("release", "nested", "there"), [("5.19", "1", False), ("6.0", "1", True), ("6.0", "0", False)]
)
def test_filters_of_pause_come_with_nesting(feature: str, release: str, nested: str, there: bool) -> None:
    assert gained(release, SVM, (feature,), nested=nested) - gained(release, SVM, nested=nested) == (
        {feature} if there else set()
    )


@pytest.mark.parametrize(
    ("release", "has", "parameters", "more"),
    [
        ("5.19", ("INVPCID",), {}, {"INVPCID"}),
        ("6.0", ("INVPCID",), {}, set()),
        ("5.19", ("PERFCTR_CORE",), {"enable_pmu": "Y"}, set()),
        ("6.0", ("PERFCTR_CORE",), {"enable_pmu": "Y"}, {"PERFCTR_CORE"}),
        ("6.0", ("PERFCTR_CORE",), {"enable_pmu": "N"}, set()),
    ],
)
def test_what_svm_takes_from_linux(
    release: str, has: tuple[str, ...], parameters: dict[str, str], more: set[str]
) -> None:
    assert gained(release, SVM, has, **parameters) == more


def with_all_bits(release: str, vendor: str, **parameters: str) -> frozenset[str]:
    """Features of KVM where CPU and Linux have every bit."""
    kvm = kvm_of(release, vendor, **{"nested": "0", "enable_pmu": "Y", **parameters})
    kvm.boot_has = lambda _: True  # type: ignore[method-assign]
    kvm.boot_word = lambda _: 0xFFFFFFFF  # type: ignore[method-assign]
    kvm.raw_register = lambda _: 0xFFFFFFFF  # type: ignore[method-assign]
    kvm.__dict__["_bugs"] = frozenset()
    kvm.host.__dict__["kvm_xss"] = 0x1800
    return names_of(kvm)


@pytest.mark.parametrize(
    ("release", "vendor", "parameters", "gone"),
    [
        ("6.6", SVM, {"sev": "0", "sev_es": "1"}, {"SEV"}),
        ("6.6", SVM, {"sev": "1", "sev_es": "0"}, {"SEV_ES"}),
        ("7.2", SVM, {"sev": "1", "sev_es": "1", "npt": "N"}, {"PKU", "SHSTK"}),
        ("7.2", VMX, {"sgx": "N"}, {"SGX", "SGX_LC", "SGX1", "SGX2", "SGX_EDECCSSA"}),
        ("7.2", VMX, {"sgx": "Y", "ept": "N"}, {"PKU", "SHSTK"}),
        ("7.2", VMX, {"sgx": "Y", "allow_smaller_maxphyaddr": "Y"}, {"SHSTK", "IBT"}),
        ("7.2", VMX, {"sgx": "Y", "unrestricted_guest": "N"}, {"SHSTK", "IBT"}),
        ("7.2", VMX, {"sgx": "Y", "enable_pmu": "N"}, {"PDCM"}),
        ("5.18", VMX, {"sgx": "Y", "enable_pmu": "N"}, {"PDCM"}),
        ("5.17", VMX, {"sgx": "Y", "enable_pmu": "N"}, set()),
    ],
)
def test_what_a_parameter_takes(release: str, vendor: str, parameters: dict[str, str], gone: set[str]) -> None:
    everything = with_all_bits(release, vendor, sgx="Y", sev="1", sev_es="1")
    found = with_all_bits(release, vendor, **parameters)
    assert everything - found == gone
    assert not found - everything


def test_what_svm_has_no_support_for() -> None:
    assert not with_all_bits("7.2", SVM) & {"BUS_LOCK_DETECT", "MSR_IMM", "IBT"}
    assert with_all_bits("7.2", VMX) > {"BUS_LOCK_DETECT", "MSR_IMM", "IBT"}


@pytest.mark.parametrize(("release", "is_set"), [("6.6", False), ("6.11", False), ("6.12", True), ("7.2", True)])
def test_sev_is_set_from_6_12_on(release: str, is_set: bool) -> None:
    """Before, it is passed on: here the CPU's CPUID shows nothing."""
    for feature in ("SEV", "SEV_ES", "SEV_SNP"):
        assert gained(release, SVM, **{feature.lower(): "Y"}) == ({feature} if is_set else set())


def test_a_pmu_of_version_2_has_the_counters_of_the_core() -> None:
    kvm = kvm_with("6.12", SVM, enable_pmu="Y")
    for features, there in (({"PERFCTR_CORE", "PERFMON_V2"}, True), ({"PERFMON_V2"}, False)):
        kvm.raw_register = lambda _: 0xFFFFFFFF  # type: ignore[method-assign]
        kvm.boot_word = (
            lambda word, features=features: sum(  # type: ignore[method-assign, misc]
                1 << FEATURES[name].bit for name in features if FEATURES[name][:3] == word
            )
        )
        kvm.boot_has = lambda name, features=features: name in features  # type: ignore[method-assign, misc]
        assert ("PERFMON_V2" in names_of(kvm)) is there


# VMX


@pytest.mark.parametrize(
    ("has", "parameters", "more"),
    [
        (("INVPCID",), {}, {"INVPCID"}),
        (("WAITPKG",), {}, {"WAITPKG"}),
        (("MPX",), {}, set()),
        (("DS", "DTES64"), {}, set()),
        ((), {"nested": "Y"}, {"VMX"}),
        ((), {"ept": "N"}, {"GBPAGES"}),
    ],
)
def test_what_vmx_takes_from_linux(has: tuple[str, ...], parameters: dict[str, str], more: set[str]) -> None:
    assert gained("6.12", VMX, has, **parameters) == more


def test_kvm_emulates_umip_where_the_cpu_has_none() -> None:
    for has, there in (((), True), (("UMIP",), False)):
        assert ("UMIP" in names_of(kvm_with("6.12", VMX, has))) is there


def test_ds_comes_with_pebs_that_works_with_ept() -> None:
    """On an Ice Lake server, with both as Linux has them."""
    for has in ((), ("DS",), ("DTES64",), ("DS", "DTES64")):
        for model, found in ((0x000606A6, set(has)), (0x000506E3, set())):
            kvm = kvm_with("6.12", VMX, has, enable_pmu="Y")
            kvm.host.emulated = False
            kvm.host.cpuid.leaves[1, 0] = (model, 0, 0, 0)  # type: ignore[index]
            assert {"DS", "DTES64"} & names_of(kvm) == found


@pytest.mark.parametrize(("is_hybrid", "there"), [(False, True), (True, False)])
def test_a_pmu_that_no_parameter_tells_of(is_hybrid: bool, there: bool) -> None:
    """kvm_init_pmu_capability: none on hybrid CPUs."""
    kvm = kvm_with("6.12", SVM, ("PERFCTR_CORE",))
    kvm.parameters.pop("enable_pmu")
    kvm.host.cpuid.leaves[7, 0] = (0, 0, 0, 1 << FEATURES["HYBRID_CPU"].bit if is_hybrid else 0)  # type: ignore[index]
    assert ("PERFCTR_CORE" in names_of(kvm)) is there


def test_mpx_needs_vmxs_controls() -> None:
    kvm = kvm_with("6.12", VMX, ("MPX",))
    kvm.processor = kvm.processor._replace(vmx_mpx=True)
    assert "MPX" in names_of(kvm)


def test_protection_keys_need_linux_to_use_them() -> None:
    for has, there in ((("OSPKE",), True), ((), False)):
        kvm = kvm_with("6.12", VMX, has)
        kvm.boot_word = kvm.raw_register = lambda _: 0xFFFFFFFF  # type: ignore[method-assign]
        assert ("PKU" in names_of(kvm)) is there


@pytest.mark.parametrize(("xsaves", "xss", "there"), [(True, 0x1800, True), (False, 0x1800, False), (True, 0, False)])
def test_cet_needs_xsaves_and_its_state(xsaves: bool, xss: int, there: bool) -> None:
    kvm = kvm_with("7.2", VMX)
    kvm.host.__dict__["kvm_xss"] = xss
    word = FEATURES["XSAVES"][:3]
    kvm.raw_register = lambda asked: 0xFFFFFFFF if asked != word or xsaves else 0  # type: ignore[method-assign]
    kvm.boot_word = kvm.raw_register  # type: ignore[method-assign]
    assert {"SHSTK", "IBT"} & names_of(kvm) == ({"SHSTK", "IBT"} if there else set())


# How a word begins


def word_of(kvm: Kvm, feature: str) -> int:
    return caps.Caps(kvm).words[FEATURES[feature][:3]]


@pytest.mark.parametrize(
    ("feature", "raw", "linux", "concluded", "there"),
    [
        # Passed on: the CPU and Linux have it.
        ("AVX2", True, True, False, True),
        ("AVX2", True, False, False, False),
        ("AVX2", False, True, False, False),
        ("AVX2", False, False, True, False),
        # Emulated, by the CPU alone, concluded by Linux, and of Linux's scattered words.
        ("TSC_ADJUST", False, False, False, True),
        ("LA57", True, False, False, True),
        ("LA57", False, True, True, False),
        ("SRSO_NO", False, False, True, True),
        ("SRSO_NO", True, True, False, False),
        ("SGX1", True, True, False, True),
        ("SGX1", True, False, False, False),
        ("SGX1", False, True, False, False),
    ],
)
def test_each_mark_of_the_lists(feature: str, raw: bool, linux: bool, concluded: bool, there: bool) -> None:
    kvm = kvm_with("6.12", VMX, (feature,) if concluded else ())
    kvm.raw_register = lambda _: 0xFFFFFFFF * raw  # type: ignore[method-assign]
    kvm.boot_word = lambda _: 0xFFFFFFFF * linux  # type: ignore[method-assign]
    assert bool(word_of(kvm, feature) >> FEATURES[feature].bit & 1) is there


@pytest.mark.parametrize(
    ("release", "concluded", "there"),
    [("6.13", False, False), ("6.14", False, True), ("6.16", False, True), ("6.19", False, True), ("7.0", False, False),
     ("7.0", True, True), ("6.13", True, True)],
)  # fmt: skip
def test_synthesized_bits_of_a_word_of_kvms_own(release: str, concluded: bool, there: bool) -> None:
    """SYNTHESIZED_F asked nobody from 6.14 to 6.19, and no word of Linux's masked it."""
    kvm = kvm_with(release, SVM, ("TSA_SQ_NO", "TSA_L1_NO") if concluded else ())
    word = word_of(kvm, "TSA_SQ_NO")
    both = 1 << FEATURES["TSA_SQ_NO"].bit | 1 << FEATURES["TSA_L1_NO"].bit
    assert word & both == (both if there else 0)
    assert not word_of(kvm, "SRSO_NO") >> FEATURES["SRSO_NO"].bit & 1


def test_words_that_nobody_masks() -> None:
    """memcpy of boot_cpu_data until 6.14; a word of KVM's own lay over Linux's fifth in 5.10."""
    unmasked = next(word for word in WORDS if not caps._rows(word))
    for release, found in (("5.10", 5), ("6.13", 5), ("6.14", 0), ("7.2", 0)):
        kvm = kvm_with(release)
        kvm.boot_word = lambda _: 5  # type: ignore[method-assign]
        assert caps.Caps(kvm).words[unmasked] == found
    for release, is_linuxs in (("5.10", True), ("5.11", False)):
        kvm = kvm_with(release)
        expected = caps.linux_features.lnx_5(kvm.host) if is_linuxs else 0
        assert caps.Caps(kvm).words[_KVM_ONLY] == expected


def test_setting_and_clearing() -> None:
    made = caps.Caps(kvm_with("6.12", SVM, ("AVX2",)))
    made.check_and_set("AVX2", "BMI2")
    assert (made.has("AVX2"), made.has("BMI2")) == (True, False)
    made.set_if("BMI2", ())
    assert not made.has("BMI2")
    made.set_if("BMI2", "held")
    made.clear("AVX2")
    assert (made.has("AVX2"), made.has("BMI2"), made.has("BMI1")) == (False, True, False)
