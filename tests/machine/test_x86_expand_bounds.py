"""What a model's features are before the host is asked: the accelerator's, the host's own, what hangs on a PMU."""

from __future__ import annotations

import pytest

from inspector.machine.x86.models.baseline import Baseline, baseline, labels
from inspector.machine.x86.models.offer import offer_of_features
from layouts.x86.models.features import features
from tests.machine.x86_models import every, made

INTEL = every(vendor="GenuineIntel")


def origin(feature: str, name: str, accelerator: str = "kvm", **words: str) -> str:
    """Who decided last on a feature, on a host that has all."""
    return str(made(name, every(vendor="GenuineIntel", accelerator=accelerator), **words).expansion.origin(feature))


@pytest.mark.parametrize(
    ("accelerator", "words", "said"),
    [
        ("kvm", {}, "on by QEMU's defaults for KVM"),
        ("kvm", {"kvm": "on"}, "on by QEMU's defaults for KVM"),
        ("kvm", {"kvm": "off"}, "off by kvm=off"),
        ("tcg", {"kvmclock": "on"}, "off by TCG"),
    ],
)
def test_without_kvm_a_guest_has_nothing_of_it(accelerator: str, words: dict[str, str], said: str) -> None:
    """x86_cpu_expand_features empties FEAT_KVM; the hints are another word, and stay."""
    assert origin("kvmclock", "EPYC-v1", accelerator, **words) == said
    assert origin("kvm-hint-dedicated", "EPYC-v1", accelerator, kvm_hint_dedicated="on", **words) == (
        "on by +kvm-hint-dedicated"
    )
    assert origin("sse2", "EPYC-v1", accelerator, **words) == "on by EPYC-v1"


@pytest.mark.parametrize("name", ["host", "max"])
@pytest.mark.parametrize(
    ("feature", "accelerator", "words", "on"),
    [
        ("invtsc", "kvm", {}, False),
        ("invtsc", "kvm", {"migratable": "off"}, True),
        ("invtsc", "kvm", {"tsc_frequency": "2000000000"}, True),
        ("pdcm", "kvm", {}, True),
        ("pdcm", "kvm", {"pmu": "off"}, False),
        ("pdcm", "kvm", {"pmu": "off", "pdcm": "on"}, False),
        ("arch-lbr", "kvm", {}, True),
        ("arch-lbr", "kvm", {"pmu": "off"}, False),
        ("vme", "kvm", {}, True),
        ("vme", "tcg", {}, False),
        ("topoext", "kvm", {}, False),
        ("topoext", "kvm", {"topoext": "on"}, True),
        ("avx2", "kvm", {"avx2": "off"}, False),
    ],
)
def test_what_is_taken_of_a_host(name: str, feature: str, accelerator: str, words: dict[str, str], on: bool) -> None:
    found = made(name, every(vendor="GenuineIntel", accelerator=accelerator), **words)
    assert (feature in found.features) is on
    assert not found.dropped


def test_a_model_with_pdcm_needs_a_pmu() -> None:
    assert origin("pdcm", "EPYC-v1", pdcm="on") == "off by pmu, which is off"
    assert origin("pdcm", "EPYC-v1", pdcm="on", pmu="on") == "on by +pdcm"
    assert origin("pdcm", "EPYC-v1") == "None"
    # What hangs on it goes after it.
    assert "full-width-write" not in made("host", INTEL, pmu="off").features


@pytest.mark.parametrize(
    ("vendor", "words", "shown"),
    [
        ("GenuineIntel", {}, True),
        ("AuthenticAMD", {}, False),
        ("HygonGenuine", {}, True),
        ("AuthenticAMD", {"qemu": "10.0"}, True),
        ("AuthenticAMD", {"machine": "pc-q35-10.0"}, True),
        ("AuthenticAMD", {"machine": "pc-q35-10.1"}, False),
        ("AuthenticAMD", {"x_arch_cap_always_on": "on"}, True),
    ],
)
def test_what_kvm_makes_up_of_arch_capabilities(vendor: str, words: dict[str, str], shown: bool) -> None:
    """x86_cpu_get_supported_feature_word: not on AMD from 10.1 on."""
    assert ("arch-capabilities" in made("host", every(vendor=vendor), **words).features) is shown


@pytest.mark.parametrize(
    ("name", "accelerator", "host", "words", "vendor"),
    [
        ("Skylake-Server", "kvm", "AuthenticAMD", {}, "AuthenticAMD"),
        ("Skylake-Server", "kvm", "", {}, "GenuineIntel"),
        ("Skylake-Server", "tcg", "AuthenticAMD", {}, "GenuineIntel"),
        ("Skylake-Server", "kvm", "AuthenticAMD", {"vendor": "CentaurHauls"}, "CentaurHauls"),
        ("max", "tcg", "GenuineIntel", {}, "AuthenticAMD"),
        ("max", "kvm", "GenuineIntel", {}, "GenuineIntel"),
        ("base", "tcg", "GenuineIntel", {}, ""),
        ("base", "kvm", "GenuineIntel", {}, ""),
    ],
)
def test_whose_vendor_a_guest_sees(name: str, accelerator: str, host: str, words: dict[str, str], vendor: str) -> None:
    """host_cpu_instance_init: a model's becomes the host's; max_x86_cpu_initfn; base has none."""
    assert made(name, every(vendor=host, accelerator=accelerator), **words).expansion.vendor == vendor


# Baseline


@pytest.fixture(scope="module")
def of_two() -> Baseline:
    """Of two Intel CPUs that have everything but FMA4, and one not AVX-512, the other not SSE4A."""
    return baseline([every("fma4", name, vendor="GenuineIntel") for name in ("avx512f", "sse4a")])


def test_what_two_hosts_have_in_common(of_two: Baseline) -> None:
    found = of_two
    assert found.partial == {"avx512f": ("h",), "sse4a": ("h",)}
    assert found.common == frozenset(features()) - found.partial.keys() - {"fma4"} - frozenset(
        name for name, bits in features().items() if bits[0].word.at == 0x40000001
    ) - {"ht", "topoext", "kvm-hint-dedicated", "invtsc"}  # fmt: skip
    assert found.phys_bits == 0
    assert baseline([INTEL._replace(phys_bits=46), INTEL._replace(phys_bits=39), INTEL]).phys_bits == 39


def test_models_that_need_nothing_off_come_first(of_two: Baseline) -> None:
    ranked = of_two.ranked
    order = [(bool(one.removed), len(one.words), len(one.unknown)) for one in ranked]
    assert order == sorted(order)
    assert {bool(one.removed) for one in ranked} == {True, False}
    # Of the vendor of all hosts alone.
    assert {one.request.model.vendor for one in ranked if one.request.model} == {"GenuineIntel"}
    of_both = baseline([INTEL, every()])
    assert {one.request.model.vendor for one in of_both.ranked if one.request.model} >= {"GenuineIntel", "AuthenticAMD"}


def test_what_is_off_is_off_on_each_host(of_two: Baseline) -> None:
    skylake = next(one for one in of_two.ranked if one.model == "Skylake-Server-v4")
    assert skylake.removed == ("avx512f",)
    assert [made.verdict for made in skylake.realizations] == ["yes", "yes"]
    assert not any("avx512f" in made.features for made in skylake.realizations)
    assert {"+vmx", "+svm", "+npt", "+vmx-ept"}.isdisjoint(skylake.words)
    assert (skylake.usable, skylake.unknown) == (False, ())


def test_a_baseline_is_of_a_machine_and_a_version() -> None:
    found = baseline([INTEL], qemu="5.2", machine="pc-q35-6.0").ranked[0].request
    assert (found.models.version, found.machine.name) == ("5.2", "pc-q35-6.0")


def test_labels_name_the_kernel_of_a_cpu_that_comes_twice() -> None:
    host = offer_of_features("milan", [])
    old, new, other = (
        host._replace(kernel="6.1"),
        host._replace(kernel="6.18"),
        host._replace(name="rome", kernel="6.1"),
    )
    assert labels([old, new, other]) == ["milan@6.1", "milan@6.18", "rome"]
    assert labels([host, old]) == ["milan", "milan@6.1"]
