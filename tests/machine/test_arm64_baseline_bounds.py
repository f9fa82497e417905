"""The best of several arm64 hosts: which features, lengths and fields all of them have, and which model runs best."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PMU_V3, POWER_OFF, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.models.baseline import Baseline, baseline, common_vqs, rank
from inspector.machine.arm64.models.request import parse_words
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import CTR, DFR0, ISAR0, ISAR1, PFR0, encoding_of_op
from layouts.arm64.kernels import kernels
from layouts.arm64.named_models import chain, named_models, parse_model
from layouts.arm64.properties import field_places
from tests.machine.arm64 import known_host
from tests.machine.arm64_bounds import bare_host

WITH_SVE, PMU = 0x12 | 1 << 32, {DFR0: of.DFR0_PMUVER.put(6, 6)}
BY_APA = {ISAR1: of.ISAR1_GPA.put(of.ISAR1_APA.put(0, 1), 1)}
BY_API = {ISAR1: of.ISAR1_GPI.put(of.ISAR1_API.put(0, 1), 1)}
ISAR6 = encoding_of_op((3, 0, 0, 2, 7))
AES, SHA1, RNDR = 4, 8, 60
ALL = {PFR0: WITH_SVE, **BY_APA, **PMU}


@pytest.mark.parametrize(
    ("sets", "common"),
    [
        ((0b11,), 0b11),
        ((0b1011, 0b11), 0b11),
        ((0b1011, 0b1), 0b1),
        ((0b1011, 0b1001), 0b1),
        ((0b10, 0b01), 0),
        ((0b11, 0), 0),
        ((0xFFFF, 0xFFFF), 0xFFFF),
        ((0xFFFF, 0x7FFF), 0x7FFF),
    ],
)
def test_lengths_that_all_have_exactly(sets: tuple[int, ...], common: int) -> None:
    """What one lacks below its longest, no guest can go without (kvm_arm_vcpu_finalize of a set with holes)."""
    assert common_vqs([Host(kernels()["7.2"], {}, sve_vqs=one) for one in sets]) == common


@pytest.mark.parametrize(
    ("first", "second", "lengths", "features", "vqs"),
    [
        (ALL, ALL, ((16, 32), (16,)), SVE | PTRAUTH | PMU_V3, 1),
        (ALL, {**ALL, PFR0: 0x12}, ((16, 32), ()), PTRAUTH | PMU_V3, 0),
        (ALL, ALL, ((32,), (16,)), PTRAUTH | PMU_V3, 0),
        (ALL, {PFR0: WITH_SVE, **PMU}, ((16,), (16,)), SVE | PMU_V3, 1),
        (ALL, {PFR0: WITH_SVE, **BY_APA}, ((16,), (16,)), SVE | PTRAUTH, 1),
        # One algorithm here and another there is none that both have.
        (ALL, {**ALL, **BY_API}, ((16,), (16,)), SVE | PMU_V3, 1),
        ({}, {}, ((), ()), 0, 0),
    ],
)
def test_features_that_all_have(
    first: dict[int, int], second: dict[int, int], lengths: tuple[tuple[int, ...], ...], features: int, vqs: int
) -> None:
    hosts = [bare_host(values, vls=vls) for values, vls in zip((first, second), lengths, strict=True)]
    for found in (baseline(hosts), baseline(hosts[::-1])):
        assert (found.features, found.vqs) == (PSCI_0_2 | features, vqs)
        switches = {"sve": SVE, "pauth": PTRAUTH, "pmu": PMU_V3}
        lines = [f"{name}={'on' if features & bit else 'off'}" for name, bit in switches.items()]
        assert list(found.words)[-len(lines) - bool(vqs) :] == [*lines, *(["sve128=on"] if vqs else [])]


def test_lengths_of_a_host_that_gives_guests_no_sve() -> None:
    host = bare_host(ALL, vls=(16, 32))
    host.features &= ~SVE
    found = baseline([host, host])
    assert (found.features & SVE, found.vqs) == (0, 0)
    assert found.words[-1] == "pmu=on"


def test_psci_alone_is_no_matter_of_hosts() -> None:
    host = bare_host(ALL, vls=(16,))
    host.features &= ~(PSCI_0_2 | POWER_OFF)
    assert baseline([host]).features == PSCI_0_2 | SVE | PTRAUTH | PMU_V3


def of_fields(found: Baseline, register: str, *fields: str) -> list[int]:
    places = [field_places()[register, field] for field in fields]
    return [place.get(found.registers[place.encoding]) for place in places]


def test_the_best_of_each_field() -> None:
    """Safe values by the kernel's policy; a guest has neither EL2 nor EL3."""
    first = bare_host({PFR0: 0x2212, ISAR0: 2 << AES | 1 << SHA1 | 1 << RNDR, CTR: 0x4_0004})
    second = bare_host({PFR0: 0x2212, ISAR0: 1 << AES | 1 << SHA1, CTR: 0x3_0003})
    found = baseline([first, second])
    assert of_fields(found, "ID_AA64ISAR0_EL1", "AES", "SHA1", "RNDR") == [1, 1, 0]
    assert of_fields(found, "ID_AA64PFR0_EL1", "EL0", "EL1", "EL2", "EL3") == [2, 1, 0, 0]
    assert of_fields(found, "CTR_EL0", "DminLine", "IminLine") == [3, 3]
    assert found.registers[CTR] >> 31 == 1, "RES1"
    assert not any(word.startswith("feat_RNDR") for word in found.words)
    # Bits that no field has are zero.
    assert found.registers[ISAR0] == 1 << AES | 1 << SHA1


@pytest.mark.parametrize(("second", "el0"), [(0x11, 2), (0x12, 1)])
def test_aarch32_where_its_registers_differ(second: int, el0: int) -> None:
    """Models say nothing about them; so no AArch32."""
    hosts = [bare_host({PFR0: 0x12, ISAR6: one}) for one in (0x11, second)]
    assert of_fields(baseline(hosts), "ID_AA64PFR0_EL1", "EL0") == [el0]
    without = [bare_host({PFR0: 0x11, ISAR6: one}) for one in (0x11, second)]
    assert of_fields(baseline(without), "ID_AA64PFR0_EL1", "EL0") == [1]


def test_a_field_for_which_no_value_runs_on_all() -> None:
    place = field_places()["ID_AA64PFR0_EL1", "MPAM"]
    hosts = [bare_host({PFR0: place.put(0x12, one)}, "6.6") for one in (0, 1)]
    assert [str(one) for one in baseline(hosts).differences] == [
        "feat_MPAM: ID_AA64PFR0_EL1.MPAM is 0, 1; cpu: not writable; the host has 1 (found 0)"
    ]


def test_words_of_a_baseline() -> None:
    """Every field once, by the property that has the value; SVE's own by its switch."""
    host = bare_host({**ALL, ISAR0: 1 << RNDR}, vls=(16, 32))
    words = baseline([host]).words
    names = [word.partition("=")[0] for word in words]
    assert len(names) == len(set(names))
    assert {"feat_RNDR=on", "sve=on", "sve128=on", "sve256=on", "pauth=on", "pmu=on"} < set(words)
    assert not {"feat_SVE", "SYSREG_ID_AA64PFR0_EL1_SVE"} & set(names)
    # Without the PMU 5.10 shows its version all the same; what comes behind it is told.
    older = bare_host({DFR0: of.DFR0_PMUVER.put(6, 4), ISAR0: 1 << RNDR}, "5.10")
    older.features &= ~PMU_V3
    words = baseline([older]).words
    assert not any("PMUVer" in word for word in words)
    assert "feat_RNDR=on" in words


def test_values_that_no_property_has_a_name_for() -> None:
    """By Arm's name of the field, each that is not zero, beside what has a name."""
    fraction = field_places()["ID_AA64PFR1_EL1", "MPAM_frac"]
    host = bare_host({ISAR0: 7 << AES | 1 << RNDR}, "5.10")
    host.limits[fraction.encoding] = fraction.put(0, 2)
    words = baseline([host]).words
    assert {"SYSREG_ID_AA64ISAR0_EL1_AES=7", "SYSREG_ID_AA64PFR1_EL1_MPAM_frac=2", "feat_RNDR=on"} <= set(words)
    assert not any(word.startswith(("feat_AES", "feat_MPAM", "SYSREG_ID_AA64PFR0_EL1_MPAM")) for word in words)


@pytest.mark.parametrize(
    ("model", "hosts", "words", "usable"),
    [
        ("neoverse-v1-v1", ("neoverse-v1",), ("pauth=on", "pmu=on"), True),
        ("neoverse-v1-v1", ("neoverse-v1", "max"), ("pmu=on",), True),
        ("neoverse-n1-v1", ("neoverse-n1",), ("pmu=on",), True),
        ("neoverse-v1-v1", ("neoverse-n1",), ("pauth=on", "pmu=on"), False),
        ("neoverse-v1-v1", ("neoverse-v1", "neoverse-n2"), ("sve256=off", "pmu=on"), True),
        ("a64fx-v1", ("a64fx",), ("pmu=on",), True),
    ],
)
def test_switches_with_which_a_model_does_best(
    model: str, hosts: tuple[str, ...], words: tuple[str, ...], usable: bool
) -> None:
    lineage = {one.name: one for one in chain(named_models()[model], named_models())}
    found = {one.model.name: one for one in rank(lineage, [known_host(name) for name in hosts], parse_words([]))}
    assert (found[model].words, found[model].usable) == (words, usable)


def test_models_of_a_users_own() -> None:
    """Parents are looked for among them; what none of them says is not switched on."""
    base = parse_model('name = "base-v1"\n[[values]]\nsource = "s"\n[values.properties]\nfeat_AES = "aes"', "a.toml")
    mine = parse_model('name = "mine-v1"\nparent = "base-v1"', "b.toml")
    found = rank({"base-v1": base, "mine-v1": mine}, [known_host("neoverse-v1")], parse_words([]))
    assert [(one.model.name, one.words, one.usable) for one in found] == [
        ("base-v1", (), False), ("mine-v1", (), False)
    ]  # fmt: skip
    assert [one.realizations[0].request.registers[ISAR0] for one in found] == [1 << AES, 1 << AES]
