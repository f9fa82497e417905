"""x86 named models against what QEMU programs answered: features, levels, what is missing and its words."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Any

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.models.cpuid import guest_cpuid, levels_of
from inspector.machine.x86.models.expand import expand
from inspector.machine.x86.models.offer import Offer, offer_of_cpuid, offer_of_features, tcg_offer
from inspector.machine.x86.models.realize import realize
from inspector.machine.x86.models.request import RequestError, request
from layouts.x86.models.features import aliases, dependents, feature_named, features, words
from layouts.x86.models.qemu import VERSIONS, machine_named, machines, qemu_models, version_for
from tests.shared import SHARED, needs

DATA = SHARED / "data/x86-cpu-models"
FILES = dict(zip(VERSIONS, ("qemu-11.1.3", "qemu-10.0.13", "qemu-5.2.0"), strict=True))
ON_KVM = Offer("an AMD host", "kvm", {}, {}, ("AuthenticAMD", 25, 1, 1))


@cache
def answers(name: str) -> Any:
    with gzip.open(DATA / f"{name}.json.gz") as file:
        return json.load(file)


@needs(DATA)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_model_expands_as_the_program_says(version: str) -> None:
    """query-cpu-model-expansion of every model under TCG: each feature, each highest leaf."""
    expansions = answers(FILES[version])["expansions"]
    differing = {}
    for name, properties in expansions.items():
        if name == "host":
            continue
        made = realize(request(name, qemu=version), tcg_offer(version))
        wanted = {feature for feature in features() if properties.get(feature) is True}
        levels = tuple(properties[key] for key in ("level", "level-func7", "xlevel", "xlevel2"))
        if made.expansion.features != wanted or levels_of(made) != levels:
            differing[name] = made.expansion.features ^ wanted
    assert differing == {}
    assert len(expansions) == {"11.1": 189, "10.0": 154, "5.2": 123}[version]


@needs(DATA)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_emulator_lacks_is_what_the_program_says(version: str) -> None:
    """query-cpu-definitions: unavailable-features, in QEMU's order."""
    for entry in answers(FILES[version])["definitions"]:
        if entry["name"] != "host":
            made = realize(request(entry["name"], qemu=version), tcg_offer(version))
            assert [missing.feature for missing in made.missing] == entry["unavailable-features"], entry["name"]


@needs(DATA)
@pytest.mark.parametrize("version", VERSIONS)
def test_names_numbers_and_aliases_are_the_programs(version: str) -> None:
    found = qemu_models(version)
    for entry in answers(FILES[version])["definitions"]:
        assert found.aliases.get(entry["name"]) == entry.get("alias-of")
        model = found.named(entry["name"])
        if model is None:
            assert entry["name"] in ("max", "host", "base")
            continue
        properties = answers(FILES[version])["expansions"][entry["name"]]
        assert (model.vendor, model.family, model.model, model.stepping, model.model_id) == tuple(
            properties[key] for key in ("vendor", "family", "model", "stepping", "model-id")
        )
        assert model.deprecated == entry["deprecated"]


@needs(DATA)
def test_machine_types_set_what_the_program_says() -> None:
    told = answers("machine-types-qemu-11.1.3")["machines"]
    assert set(machines()) == set(told)
    for name, entry in told.items():
        for model, changed in entry["differs-from-q35"].items():
            assert machines()[name].sets(model) == changed
        assert entry["alias-of"] == qemu_models().aliases


@needs(DATA)
def test_each_feature_has_the_bit_that_the_program_moved() -> None:
    for name, entry in answers("feature-bits-qemu-11.1.3")["features"].items():
        if not entry.get("bits") or not feature_named(name) or name == "xsave":
            continue
        ours = {
            (bit.word.at, bit.word.subleaf, bit.word.register.upper(), bit.number)
            for bit in features()[feature_named(name)]
        }
        told = {tuple(bit) for bit in entry["bits"]}
        # On AMD leaf 8000_0001 repeats bits of leaf 1; features with both are those.
        assert ours <= told, name
        assert {bit[0] for bit in told - ours} <= {0x80000001}, name


def test_tables_hold_together() -> None:
    assert set(aliases().values()) <= set(features())
    assert {name for hanging in dependents().values() for name in hanging} <= set(features())
    assert len({bit for bits in features().values() for bit in bits}) == sum(len(names) for names in words().values())
    for version in VERSIONS:
        for model in qemu_models(version).models.values():
            assert model.features <= set(features())


# What the accelerator changes


def test_kvm_takes_and_gives_its_own() -> None:
    """As QEMU 11.1.3 answered under KVM on an AMD host (kvm_default_props)."""
    found = expand(request("EPYC-v4"), ON_KVM)
    assert {"x2apic", "kvmclock", "vme", "kvm-pv-eoi"} <= found.features
    assert not {"svm", "npt", "monitor"} & found.features
    assert str(found.origin("npt")) == "off by svm, which is off"
    assert str(found.origin("svm")) == "off by QEMU's defaults for KVM"
    assert expand(request("Skylake-Server"), ON_KVM).vendor == "AuthenticAMD"
    nested = expand(request("Skylake-Server", {"vmx": True}), ON_KVM)
    assert {"vmx-ept", "vmx-secondary-ctls"} <= nested.features


def test_what_hangs_on_a_feature_goes_with_it() -> None:
    found = realize(request("Skylake-Server", {"vmx-ept": True}), ON_KVM)
    assert [entry.feature for entry in found.dropped] == ["vmx-ept"]
    assert found.dropped[0].warning == (
        "This feature depends on other features that were not requested: MSR(48Bh).vmx-ept [bit 1]"
    )


@pytest.mark.parametrize(
    ("version", "warning"),
    [
        ("11.1", "host doesn't support requested feature: CPUID[eax=07h,ecx=00h].EBX.hle [bit 4]"),
        ("10.0", "host doesn't support requested feature: CPUID.07H:EBX.hle [bit 4]"),
    ],
)
def test_a_missing_feature_has_qemus_words(version: str, warning: str) -> None:
    model = qemu_models(version).models["Skylake-Server-v1"]
    there = model.features - {"hle"} | {"hypervisor"}
    offer = offer_of_features("h", there, set(features()) - there)
    made = realize(request("Skylake-Server-v1", qemu=version), offer)
    assert warning in [entry.warning for entry in made.missing]
    assert made.starts
    assert made.verdict == "no"
    assert not realize(request("Skylake-Server-v1", properties={"enforce": "on"}), offer).starts
    assert made.why("hle") == "off: h does not have it"
    assert "hle" not in made.features


def test_a_host_known_in_part_gives_no_verdict() -> None:
    made = realize(request("Nehalem"), offer_of_features("h", ["sse2"]))
    assert made.verdict == "depends"
    assert "popcnt" in made.unknown


def test_requests_that_no_qemu_takes() -> None:
    with pytest.raises(RequestError, match=r"QEMU 11\.1 has no CPU model 'EPYC-v9'"):
        request("EPYC-v9")
    with pytest.raises(RequestError, match=r"QEMU 11\.1 has no feature 'nonsense'"):
        request("EPYC", {"nonsense": True})
    with pytest.raises(RequestError, match=r"expected a machine type such as pc-q35-9\.0, found 'pc-q35-99\.0'"):
        request("EPYC", machine="pc-q35-99.0")
    for vendor in ("AB", "GenuineIntel ", "Genuine\u4e00ntel"):
        with pytest.raises(RequestError, match=f"vendor={vendor}: expected 12 characters"):
            request("EPYC", None, {"vendor": vendor})
    with pytest.raises(RequestError, match="no feature 'apxf'"):
        request("EPYC", {"apxf": True}, qemu="10.0")


def test_machine_types_and_versions_by_name() -> None:
    assert machine_named("q35") == machines()["pc-q35-11.1"] == machine_named("")
    assert machine_named("pc-i440fx-9.0") == machines()["pc-q35-9.0"]
    assert [version_for(version) for version in ("12.0", "11.1.3", "11.0", "8.2", "4.0")] == [
        "11.1", "11.1", "10.0", "5.2", "5.2"
    ]  # fmt: skip


# The table that the guest sees


def test_guest_cpuid_of_a_model() -> None:
    table = guest_cpuid(realize(request("EPYC-v4"), tcg_offer()))
    assert table.signature() == ("AuthenticAMD", 0x17, 1, 2)
    assert (table.get(0) or ())[0] == 0xD
    # The emulator has no XSAVES, so the guest has not.
    assert (table.get(0xD, 1) or ())[0] == 5
    assert (table.get(0xD, 0) or ())[0] == 7
    assert (table.get(0x80000008) or ())[0] == 0x3028


def test_the_host_model_is_the_host() -> None:
    model = qemu_models().models["EPYC-Rome-v2"]
    there = model.features | {"hypervisor", "invtsc"}
    offer = offer_of_features("h", there, set(features()) - there, signature=("AuthenticAMD", 23, 49, 0), phys_bits=48)
    made = realize(request("host"), offer)
    assert made.features == there - {"invtsc", "topoext"}
    assert guest_cpuid(made).signature() == ("AuthenticAMD", 23, 49, 0)
    assert (guest_cpuid(made).get(0x80000008) or (0,))[0] & 0xFF == 48
    assert "invtsc" in realize(request("host", properties={"migratable": "off"}), offer).features


def test_what_qemu_adds_to_the_supported_table() -> None:
    offer = offer_of_cpuid("h", Cpuid({(0, 0): (1, 0x68747541, 0x444D4163, 0x69746E65), (1, 0): (0, 0, 0, 0)}))
    assert offer.has("arat")
    assert offer.has("tsc-deadline")
    assert offer.has("topoext")
    assert offer.has("avx") is False
    assert offer.has("vmx-ept") is None
