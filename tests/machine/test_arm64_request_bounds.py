"""What is asked of a host: words of users, who wins, switches and lengths."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PMU_V3, PSCI_0_2, PTRAUTH, SVE
from inspector.machine.arm64.models.request import Words, parse_words, request
from layouts.arm64.ids import DCZID, DFR0_AARCH32, ISAR0, ISAR1, PFR0, ZFR0, encoding_of_op
from layouts.arm64.named_models import NamedModel, parse_model
from layouts.arm64.properties import field_places
from tests.machine.arm64 import known_host
from tests.machine.arm64_bounds import bare_host

ISAR6 = encoding_of_op((3, 0, 0, 2, 7))
AES = field_places()["ID_AA64ISAR0_EL1", "AES"]


def model(*blocks: str, parent: str = "") -> NamedModel:
    """One with blocks of values."""
    head = f'name = "mine-v1"\nparent = "{parent}"\n'
    return parse_model(head + "".join(f'[[values]]\nsource = "s"\n{block}\n' for block in blocks), "mine.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", Words((), {}, {})),
        ("feat_AES=aes", Words((("feat_AES", "aes"),), {}, {})),
        (
            "FEAT_AES=on feat_SM4=on FEAT_SHA1=on",
            Words((("feat_AES", "aes"), ("feat_SM4", "on"), ("feat_SHA1", "on")), {}, {}),
        ),
        ("sve=on pmu=off", Words((), {"sve": True, "pmu": False}, {})),
        ("sve128=on sve2048=off feat_AES=aes", Words((("feat_AES", "aes"),), {}, {16: True, 256: False})),
    ],
)
def test_words(text: str, words: Words) -> None:
    assert parse_words(text.split()) == words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("feat_AES", "feat_AES: expected NAME=VALUE"),
        ("feat_AES=aes=1", "feat_AES: expected off, aes, pmull; found 'aes=1'"),
        ("sve=1", "sve: expected on or off; found '1'"),
        ("sve128=1", "sve128: expected on or off; found '1'"),
        ("sve0=on", "sve0: expected a vector length of 128 to 2048 bits"),
        ("sve64=on", "sve64: expected a vector length of 128 to 2048 bits"),
        ("sve200=on", "sve200: expected a vector length of 128 to 2048 bits"),
        ("sve2176=on", "sve2176: expected a vector length of 128 to 2048 bits"),
        (f"sve{'1' * 5000}=on", f"sve{'1' * 5000}: expected a vector length of 128 to 2048 bits"),
        ("512=on", "512: expected a property's name; inspector models expand has them all"),
    ],
)
def test_words_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        parse_words([text])
    assert str(caught.value) == why


def test_who_set_a_field() -> None:
    """Models from the root down, then SYSREG_ properties, then others; each keeps its source."""
    own = model('verified = false\n[values.properties]\nfeat_AES = "aes"')
    words = parse_words(["feat_AES=pmull", "SYSREG_ID_AA64ISAR0_EL1_AES=0"])
    asked = request(own, words, bare_host({}))
    found = [(one.value, one.origin, one.name, one.source, one.verified) for one in asked.history[AES]]
    assert found == [
        (1, "mine-v1", "feat_AES", "s", False),
        (0, "SYSREG_", "SYSREG_ID_AA64ISAR0_EL1_AES=0", "", True),
        (2, "feat_", "feat_AES=pmull", "", True),
    ]
    assert asked.registers[ISAR0] == 2 << AES.lsb


@pytest.mark.parametrize(
    ("levels", "words", "isar6", "dfr0"),
    [(0x12, "", 0, 6), (0x12, "el0_mode=aarch32", 0x11, 3), (0x11, "", 0, 3)],
)
def test_aarch32_registers_of_a_model(levels: int, words: str, isar6: int, dfr0: int) -> None:
    """None of the guest's but Armv8's debug, where it has no AArch32; on a host without it as they are there."""
    host = bare_host({PFR0: levels, ISAR6: 0x11, DFR0_AARCH32: 3})
    found = request(model(), parse_words(words.split()), host).registers
    assert (found[ISAR6], found[DFR0_AARCH32]) == (isar6, dfr0)


def test_a_register_that_kvm_does_not_have_begins_at_zero() -> None:
    assert request(None, parse_words(["hw_prop_DZP=on"]), bare_host({})).registers[DCZID] == 1 << 4


@pytest.mark.parametrize(
    ("words", "features"),
    [
        ("", SVE),
        ("sve=off", 0),
        ("pmu=on", SVE | PMU_V3),
        ("sve=off pauth=on", PTRAUTH),
        ("pauth=on pmu=on", SVE | PTRAUTH | PMU_V3),
    ],
)
def test_features_of_a_vcpu(words: str, features: int) -> None:
    """Without a model what the host has; of a model SVE where it has lengths."""
    host = known_host("neoverse-v1")
    own = model("vl_bytes = [16, 32]")
    assert request(own, parse_words(words.split()), host).features == PSCI_0_2 | features
    assert request(None, parse_words(words.split()), host).features & SVE == features & SVE


def test_a_switch_that_is_on_gives_what_nobody_named() -> None:
    """The host's fields; none of them where a model or a user names one. ID_AA64ZFR0_EL1 is a model's own."""
    host = known_host("neoverse-v1")
    algorithms = host.limit(ISAR1, PTRAUTH) & 0xFF00_0FF0
    gpi = field_places()["ID_AA64ISAR1_EL1", "GPI"]
    assert request(model(), parse_words(["pauth=on"]), host).registers[ISAR1] == algorithms
    named = request(model(), parse_words(["pauth=on", "feat_GPI=on"]), host)
    assert named.registers[ISAR1] == 1 << gpi.lsb
    assert named.conflicts == ()
    sve = request(model(), parse_words(["sve=on"]), host)
    assert (sve.registers[ZFR0], sve.registers[PFR0]) == (0, 1 << 32)


def test_a_switch_that_is_off_takes_all_of_its_fields() -> None:
    """Also what a user named: that is a conflict only where the user said off."""
    host = known_host("neoverse-v1")
    word = "feat_ZFR0_AES=on"
    said = request(model("vl_bytes = [16]"), parse_words([word, "sve=off"]), host)
    assert (said.registers[ZFR0], said.registers[PFR0]) == (0, 0)
    assert [str(one) for one in said.conflicts] == [f"sve=off overrides {word} in ID_AA64ZFR0_EL1.AES"]
    quiet = request(model(), parse_words([word]), host)
    assert quiet.registers[ZFR0] == 0
    assert [str(one) for one in quiet.conflicts] == [f"sve=off overrides {word} in ID_AA64ZFR0_EL1.AES"]
    of_model = request(model('[values.properties]\nfeat_ZFR0_AES = "on"\nfeat_BF16 = "on"'), parse_words([]), host)
    assert (of_model.registers[ZFR0], of_model.conflicts) == (0, ())


def test_who_switched_a_field_off() -> None:
    """Nobody, where nobody said so."""
    host, field = known_host("neoverse-v1"), field_places()["ID_AA64ZFR0_EL1", "AES"]
    said = request(model(), parse_words(["sve=off"]), host).last(field)
    assert said is not None
    assert (said.value, said.origin, said.name) == (0, "switch", "sve=off")
    assert request(model(), parse_words([]), host).last(field) is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("sve=off sve256=on sve128=on", "sve128=on: sve=off; a guest without SVE has no vector lengths"),
        ("sve128=on", "sve128=on: this guest has no SVE without sve=on; a guest without SVE has no vector lengths"),
    ],
)
def test_lengths_without_sve(words: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        request(model(), parse_words(words.split()), known_host("neoverse-v1"))
    assert str(caught.value) == why
