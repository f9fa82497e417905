"""x86 named models at their bounds: what QEMU adds to KVM's answer, what is missing, each leaf of CPUID."""

from __future__ import annotations

import struct

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.models.cpuid import (
    cpuid_of_model,
    guest_cpuid,
    levels_of,
    model_id_of,
    phys_bits_of,
    version_of,
)
from inspector.machine.x86.models.offer import Offer, offer_of_cpuid, offer_of_features
from inspector.machine.x86.models.realize import place_in_warning
from inspector.machine.x86.models.request import RequestError, request
from inspector.targets.x86_offers import offer_named
from layouts.x86.models.features import Bit, Word
from tests.machine.x86_models import every, made

AMD, INTEL = (0x68747541, 0x444D4163, 0x69746E65), (0x756E6547, 0x6C65746E, 0x49656E69)
HYGON = (0x6F677948, 0x656E6975, 0x6E65476E)
LEAF_0 = {(0, 0): (1, *AMD), (1, 0): (0, 0, 0, 0)}
NO_FB_CLEAR = 1 << 5 | 1 << 8 | 1 << 13 | 1 << 14 | 1 << 15
SPR = "sapphire-rapids@6.18"


def offer_with(
    rows: dict[tuple[int, int], tuple[int, int, int, int]],
    msrs: dict[int, int] | None = None,
    host: Cpuid | None = None,
) -> Offer:
    return offer_of_cpuid("h", Cpuid({**LEAF_0, **rows}), msrs=msrs, host=host)


# What QEMU adds to KVM's answer


@pytest.mark.parametrize(
    ("index", "value", "chosen"),
    [
        (0x48B, 0x8000000E_00000002, 0x8000000C),
        (0x490, 0x00000001_00000000, 1),
        (0x480, 1 << 63 | 0x10001, 1 << 63 | 0x10001),
        (0x10A, NO_FB_CLEAR, NO_FB_CLEAR | 1 << 17),
        *((0x10A, NO_FB_CLEAR & ~(1 << bit), NO_FB_CLEAR & ~(1 << bit)) for bit in (5, 8, 13, 14, 15)),
        (0x345, NO_FB_CLEAR, NO_FB_CLEAR),
    ],
)
def test_what_of_a_feature_msr_a_guest_may_choose(index: int, value: int, chosen: int) -> None:
    offer = offer_with({}, {index: value})
    word = Word.of_msr(index)
    assert (offer.values[word], offer.known[word]) == (chosen, (1 << 64) - 1)


def test_faster_instructions_are_the_cpus() -> None:
    """Without the CPU's own table they are there where KVM says so, else not known; no other bit hangs on it."""
    word, erms = Word.of_cpuid(7, 0, "ebx"), 1 << 9
    told = offer_with({(7, 0): (0, erms, 0, 0)})
    untold = offer_with({(7, 0): (0, 1, 0, 0)})
    assert (told.values[word], told.known[word]) == (erms, 0xFFFFFFFF)
    assert (untold.values[word], untold.known[word]) == (1, 0xFFFFFFFF & ~erms)
    assert (untold.has("erms"), untold.has("fsrm"), untold.has("fsgsbase")) == (None, None, True)
    known = offer_with({(7, 0): (0, 0, 0, 0)}, host=Cpuid({(7, 0): (0, 0xFFFFFFFF, 0, 0)}))
    assert (known.values[word], known.known[word]) == (erms, 0xFFFFFFFF)
    assert (known.has("erms"), known.has("fsrm")) == (True, False)


def test_what_is_added_and_taken() -> None:
    offer = offer_with({(7, 0): (0, 0, 1 << 5, 0), (1, 0): (0, 0, 0, 1 | 1 << 23)})
    assert offer.values[Word.of_cpuid(7, 0, "ecx")] == 0, "WAITPKG needs cpu-pm=on"
    assert offer.values[Word.of_cpuid(1, None, "edx")] == 1 | 1 << 7 | 1 << 12 | 1 << 14 | 1 << 16 | 1 << 23 | 1 << 28
    # AMD's copies of leaf 1: FPU, MCE, MTRR, MCA, PAT, MMX; HT is not among them.
    assert offer.values[Word.of_cpuid(0x80000001, None, "edx")] == 1 | 1 << 7 | 1 << 12 | 1 << 14 | 1 << 16 | 1 << 23
    assert (offer.has("kvmclock"), offer.has("overflow-recov"), offer.has("succor")) == (True, True, True)
    told = offer_with({(0, 0): (1, *INTEL), (0x40000001, 0): (1 << 7, 0, 0, 0)})
    assert (told.has("kvmclock"), told.has("kvm-pv-unhalt")) == (False, True)
    assert (told.has("overflow-recov"), told.has("kvm-hint-dedicated")) == (False, True)


def test_an_offer_says_what_the_table_says() -> None:
    texts = (b"    CPU X   of t", b"hree rows, the l", b"ast whole of CPU")
    rows = {(0x80000002 + row, 0): struct.unpack("<4I", text.ljust(16, b"\0")) for row, text in enumerate(texts)}
    offer = offer_with({**rows, (0x80000008, 0): (0x3034, 0x33, 0, 0)})
    assert offer.model_id == "CPU X   of three rows, the last whole of CPU"
    assert (offer.phys_bits, offer.kernel, offer.label) == (0x34, "", "h")
    first = {(0x80000002, 0): struct.unpack("<4I", b"  CPU \xe9\0no more!")}
    assert offer_with(first).model_id == "CPU \xe9"
    assert offer.cpuid is not None
    assert (offer_with({}).phys_bits, offer_with({}).model_id) == (0, "")
    by_names = offer_of_features("h", ["pni"], ["x2apic"])
    assert by_names.values == {Word.of_cpuid(1, None, "ecx"): 1}
    assert by_names.known == {Word.of_cpuid(1, None, "ecx"): 1 | 1 << 21}
    assert (by_names.phys_bits, by_names.is_partial, by_names.vendor) == (0, True, "")


# What is missing, and who asked


def test_who_asked_for_what_is_missing() -> None:
    found = made("EPYC-v1", every("avx2", "aes"), aes="on")
    assert [str(entry) for entry in found.missing] == [
        "aes (CPUID.1.0.ECX[25]): on by +aes",
        "avx2 (CPUID.7.0.EBX[5]): on by EPYC-v1",
    ]
    assert (found.why("aes"), found.why("fma"), found.why("la57")) == (
        "off: h does not have it", "on by EPYC-v1", ""
    )  # fmt: skip
    assert found.missing[0].warning.startswith("host doesn't support requested feature: ")
    by_tcg = made("EPYC-v1", every("aes", accelerator="tcg"))
    assert by_tcg.missing[0].warning.startswith("TCG doesn't support requested feature: ")
    assert by_tcg.features == by_tcg.expansion.features - {"aes"}


@pytest.mark.parametrize(("vendor", "missing"), [("AuthenticAMD", ["overflow-recov"]), ("GenuineIntel", [])])
def test_machine_check_bits_are_looked_at_on_amd_alone(vendor: str, missing: list[str]) -> None:
    found = made("EPYC-v1", every("overflow-recov", vendor=vendor), overflow_recov="on")
    assert [entry.feature for entry in found.missing] == missing


@pytest.mark.parametrize(
    ("word", "old", "new"),
    [
        (Word.of_msr(0xF), "MSR(0FH)", "MSR(0Fh)"),
        (Word.of_cpuid(1, None, "ecx"), "CPUID.01H:ECX", "CPUID[eax=01h].ECX"),
        (Word.of_cpuid(0xD, 1, "eax"), "CPUID.0DH:EAX", "CPUID[eax=0Dh,ecx=01h].EAX"),
    ],
)
def test_words_of_cpuid_by_version(word: Word, old: str, new: str) -> None:
    assert [place_in_warning(Bit(word, 0), version) for version in ((10, 0), (10, 1), (11, 0))] == [old, new, new]


# What is asked


@pytest.mark.parametrize(
    ("text", "value"), [("on", True), ("YES", True), ("true", True), ("y", True), ("off", False), ("N", False)]
)
def test_a_flag_is_read_as_qemu_does(text: str, value: bool) -> None:
    asked = request("EPYC", None, {"enforce": text})
    assert asked.enforce is value
    assert asked.flag("migratable", otherwise=True) is True
    with pytest.raises(RequestError, match="expected on or off, found 'maybe'"):
        request("EPYC", None, {"enforce": "maybe"}).flag("enforce", otherwise=False)


def test_numbers_are_read_in_any_base() -> None:
    asked = request("EPYC", None, {"level": "0x10", "xlevel": "17", "family": "x"})
    assert (asked.number("level", 1), asked.number("xlevel", 1), asked.number("model", 5)) == (16, 17, 5)
    with pytest.raises(RequestError, match="family=x: expected a number"):
        asked.number("family", 1)


# The table that the guest sees


@pytest.mark.parametrize(
    ("name", "properties", "eax"),
    [
        ("EPYC-v1", {}, 0x800F12),
        ("EPYC-v1", {"family": "15", "model": "31", "stepping": "15"}, 0x010FFF),
        ("EPYC-v1", {"family": "16", "model": "0xf0", "stepping": "0"}, 0x1F0F00),
        ("base", {}, 0),
        ("base", {"family": "6", "model": "3"}, 0x630),
        ("max", {}, 0x663),
        ("max", {"model": "3"}, 0x633),
        ("max", {"family": "6"}, 0x600),
    ],
)
def test_family_model_and_stepping(name: str, properties: dict[str, str], eax: int) -> None:
    assert version_of(made(name, every(accelerator="tcg"), **properties)) == eax


def test_host_is_the_host_under_kvm_alone() -> None:
    kvm, tcg = every()._replace(model_id="A CPU"), every(accelerator="tcg")
    assert version_of(made("host", kvm)) == 0xA00F11
    assert (version_of(made("host", tcg)), version_of(made("EPYC-v1", kvm))) == (0x663, 0x800F12)
    assert (model_id_of(made("host", kvm)), model_id_of(made("base", kvm))) == ("A CPU", "")
    assert model_id_of(made("EPYC-v1", kvm)) == "AMD EPYC Processor"
    assert model_id_of(made("EPYC-v1", kvm, model_id="mine")) == "mine"


@pytest.mark.parametrize(
    ("name", "properties", "bits"),
    [
        ("EPYC-v1", {}, 40),
        ("EPYC-v1", {"phys_bits": "52"}, 52),
        ("EPYC-v1", {"phys_bits": "0"}, 40),
        ("EPYC-v1", {"host_phys_bits": "on"}, 46),
        ("EPYC-v1", {"host_phys_bits": "on", "host_phys_bits_limit": "42"}, 42),
        ("EPYC-v1", {"host_phys_bits": "on", "host_phys_bits_limit": "48"}, 46),
        ("host", {}, 46),
        ("host", {"host_phys_bits": "off"}, 40),
        ("EPYC-v1", {"lm": "off"}, 36),
        ("EPYC-v1", {"lm": "off", "pae": "off"}, 36),
        ("EPYC-v1", {"lm": "off", "pse36": "off"}, 36),
        ("EPYC-v1", {"lm": "off", "pae": "off", "pse36": "off"}, 32),
    ],
)
def test_physical_address_bits(name: str, properties: dict[str, str], bits: int) -> None:
    host = every()._replace(phys_bits=46)
    assert phys_bits_of(made(name, host, **properties)) == bits
    assert phys_bits_of(made("host", host._replace(accelerator="tcg"))) == 40


@pytest.mark.parametrize(
    ("properties", "eax"),
    [
        ({}, 0x3028),
        ({"la57": "on"}, 0x3928),
        ({"guest_phys_bits": "255"}, 0xFF3028),
        ({"guest_phys_bits": "256"}, 0x3028),
        ({"lm": "off", "guest_phys_bits": "40"}, 36),
    ],
)
def test_address_widths(properties: dict[str, str], eax: int) -> None:
    assert (guest_cpuid(made("EPYC-v1", every(), **properties)).get(0x80000008) or ())[0] == eax


@pytest.mark.parametrize(
    ("name", "properties", "qemu", "named"),
    [
        ("EPYC-v1", {}, "", True),
        ("Nehalem-v1", {}, "", False),
        ("Nehalem-v1", {"x_vendor_cpuid_only_v2": "off"}, "", True),
        ("Nehalem-v1", {}, "10.0", True),
        ("Nehalem-v1", {"x_vendor_cpuid_only_v2": "on"}, "10.0", False),
        ("YongFeng-v1", {}, "", False),
    ],
)
def test_the_vendor_in_the_extended_leaf(name: str, properties: dict[str, str], qemu: str, named: bool) -> None:
    table = guest_cpuid(made(name, every(vendor="", accelerator="tcg"), qemu, **properties))
    basic, extended = table.get(0) or (), table.get(0x80000000) or ()
    assert extended[1:] == (basic[1:] if named else (0, 0, 0))


@pytest.mark.parametrize(("name", "edx"), [("EPYC-v1", 0x2DD3FBFD), ("Dhyana-v1", 0x2C500800)])
def test_a_guest_of_hygon_has_no_copies_of_leaf_1(name: str, edx: int) -> None:
    """What guests of QEMU 7.2 read under TCG: AMD alone is AMD there (IS_AMD_CPU)."""
    assert (guest_cpuid(made(name)).get(0x80000001) or ())[3] == edx


def test_what_qemu_does_for_amd_it_does_not_for_hygon() -> None:
    """x86_cpu_get_supported_feature_word: machine checks are AMD's, ARCH_CAPABILITIES is kept from AMD."""
    of_hygon = offer_with({(0, 0): (1, *HYGON)})
    assert (of_hygon.vendor, of_hygon.has("overflow-recov"), of_hygon.has("mce")) == ("HygonGenuine", False, True)
    for vendor, shown in (("AuthenticAMD", False), ("HygonGenuine", True)):
        assert ("arch-capabilities" in made("host", every(vendor=vendor)).features) is shown


def test_every_leaf_of_a_model() -> None:
    table = guest_cpuid(made("SapphireRapids", offer_named(SPR))).leaves
    assert {key: row for key, row in table.items() if key[0] in (0, 0xD, 0x1D, 0x1E)} == {
        (0, 0): (0x20, INTEL[0], INTEL[1], INTEL[2]),
        (0xD, 0): (0x602E7, 11008, 11008, 0),
        (0xD, 1): (0x1F, 10752, 0, 0),
        (0xD, 2): (256, 576, 0, 0),
        (0xD, 5): (64, 1088, 0, 0),
        (0xD, 6): (512, 1152, 0, 0),
        (0xD, 7): (1024, 1664, 0, 0),
        (0xD, 9): (8, 2688, 0, 0),
        (0xD, 17): (64, 2752, 2, 0),
        (0xD, 18): (8192, 2816, 6, 0),
        (0x1E, 0): (0, 0x4010, 0, 0),
        # Palette 1: 8 KiB in 8 tiles of 1 KiB, 16 rows of 64 bytes (Intel SDM vol. 1, 18.2).
        (0x1D, 0): (1, 0, 0, 0),
        (0x1D, 1): (1024 << 16 | 8192, 8 << 16 | 64, 16, 0),
    }
    assert (table[1, 0][0], table[1, 0][1], table[0x80000001, 0][0]) == (0x806F4, 0x800, 0x806F4)
    brand = b"".join(word.to_bytes(4, "little") for at in (2, 3, 4) for word in table[0x80000000 + at, 0])
    assert brand == b"Intel Xeon Processor (SapphireRapids)".ljust(48, b"\0")


def test_supervisor_components_have_no_place_of_their_own() -> None:
    """CET's two lie one behind the other in a compacted image; tiles are aligned there."""
    table = guest_cpuid(made("host", offer_named(SPR))).leaves
    assert table[0xD, 1][1:] == (10752, 0x1800, 0)
    assert (table[0xD, 11], table[0xD, 12]) == ((16, 0, 1, 0), (24, 0, 1, 0))
    without = guest_cpuid(made("host", offer_named(SPR), amx_tile="off", pku="off")).leaves
    assert without[0xD, 0] == (0xE7, 2688, 2688, 0)
    assert without[0xD, 1][1] == 576 + 256 + 64 + 512 + 1024 + 16 + 24


def test_without_xsave_there_is_no_leaf_of_it() -> None:
    table = guest_cpuid(made("EPYC-v1", every(), xsave="off")).leaves
    assert not [key for key in table if key[0] == 0xD]
    under_tcg = guest_cpuid(made("EPYC-v1", every(accelerator="tcg"))).leaves
    assert under_tcg[0xD, 0] == (7, 576, 832, 0)
    assert guest_cpuid(made("EPYC-v1", every())).leaves[0xD, 0] == (7, 832, 832, 0)


def test_svm_has_its_leaf() -> None:
    on = guest_cpuid(made("EPYC-v1", every(accelerator="tcg"))).get(0x8000000A) or ()
    assert on[:2] == (1, 0x10)
    off = guest_cpuid(made("EPYC-v1", every(accelerator="tcg"), svm="off")).get(0x8000000A)
    assert off is None or off[:2] == (0, 0)


@pytest.mark.parametrize(
    ("properties", "levels"),
    [
        ({}, (13, 0, 0x8000001E, 0)),
        ({"level": "5", "level_func7": "3", "xlevel": "0x80000008"}, (5, 3, 0x80000008, 0)),
        ({"xlevel2": "0xc0000001"}, (13, 0, 0x8000001E, 0xC0000001)),
        ({"min_level": "0x20", "min_xlevel2": "0xc0000002"}, (0x20, 0, 0x8000001E, 0xC0000002)),
        ({"min_xlevel": "0x80000022"}, (13, 0, 0x80000022, 0)),
        ({"min_level": "1", "min_xlevel": "0"}, (13, 0, 0x8000000A, 0)),
        ({"fzrm": "on"}, (13, 1, 0x8000001E, 0)),
        ({"intel_pt": "on"}, (0x14, 0, 0x8000001E, 0)),
        ({"null_sel_clr_base": "on"}, (13, 0, 0x80000021, 0)),
    ],
)  # fmt: skip
def test_the_highest_leaves(properties: dict[str, str], levels: tuple[int, ...]) -> None:
    assert levels_of(made("EPYC-v1", every(accelerator="tcg"), **properties)) == levels


def test_leaves_beyond_the_highest_are_not_shown() -> None:
    table = guest_cpuid(made("EPYC-v1", every(accelerator="tcg"), level="7", xlevel="0x80000001")).leaves
    assert {leaf for leaf, _ in table} == {0, 1, 6, 7, 0x80000000, 0x80000001}


@pytest.mark.parametrize(
    ("properties", "rows"),
    [
        (
            {},
            {(0, 0): (13, 0, 0, 0), (1, 0): (0, 0x800, 0, 0), (0x80000001, 0): (0, 0, 0, 0)},
        ),
        ({"vendor": "ABCDEFGHIJKL"}, {(0, 0): (13, 0x44434241, 0x4C4B4A49, 0x48474645)}),
        ({"fsgsbase": "on"}, {(7, 0): (0, 1, 0, 0)}),
        ({"sha512": "on"}, {(7, 0): (1, 0, 0, 0), (7, 1): (1, 0, 0, 0)}),
        ({"arat": "on"}, {(6, 0): (4, 0, 0, 0)}),
        ({"lm": "on"}, {(0x80000001, 0): (0, 0, 0, 1 << 29), (0x80000008, 0): (0x3028, 0, 0, 0)}),
        ({"fpu": "on", "nx": "on"}, {(0x80000001, 0): (0, 0, 0, 1 << 20)}),
        ({"fpu": "on", "nx": "on", "vendor": "AuthenticAMD"}, {(0x80000001, 0): (0, 0, 0, 1 << 20 | 1)}),
        # As the emulator answered for a Dhyana: AMD's alone repeat leaf 1.
        ({"fpu": "on", "nx": "on", "vendor": "HygonGenuine"}, {(0x80000001, 0): (0, 0, 0, 1 << 20)}),
        ({"svm": "on"}, {(0x8000000A, 0): (1, 0x10, 0, 0)}),
        ({"xsave": "on"}, {(0xD, 0): (3, 576, 576, 0), (0xD, 1): (0, 576, 0, 0)}),
        ({"model_id": "x" * 49}, {(0x80000002 + at, 0): (0x78787878,) * 4 for at in range(3)}),
        ({"model_id": "\u4e00\udcff"}, {(0x80000002, 0): (0xFF80B8E4, 0, 0, 0)}),
    ],
)
def test_a_cpu_of_one_feature_has_its_rows_alone(
    properties: dict[str, str], rows: dict[tuple[int, int], tuple[int, ...]]
) -> None:
    words = {"level": "0xd", "xlevel": "0x8000000a", **properties}
    table = guest_cpuid(made("base", every(accelerator="tcg"), **words)).leaves
    assert {key: table.get(key) for key in rows} == rows


def test_a_cpu_of_its_own_has_what_no_guest_is_shown() -> None:
    """As a processor a model has its leaves of tiles, AVX10, Centaur's and of AMD's counters; XCR0 is 1 at reset."""
    names = ("SapphireRapids-v1", "DiamondRapids-v1", "YongFeng-v1", "EPYC-Genoa-v2")
    spr, diamond, yongfeng, genoa = (cpuid_of_model(name).leaves for name in names)
    assert (spr[0x80000000, 0], spr[1, 0][0], (0xC0000000, 0) in spr) == ((0x80000008, 0, 0, 0), 0x806F4, False)
    assert (spr[0xD, 0][:3], spr[0x1E, 0], (0x1E, 1) in spr) == ((0x602E7, 576, 11008), (0, 0x4010, 0, 0), False)
    assert {key: row for key, row in diamond.items() if key[0] in (0x1E, 0x24)} == {
        (0x1E, 0): (1, 0x4010, 0, 0),
        (0x1E, 1): (0x1DF, 0, 0, 0),
        (0x24, 0): (1, 0x70002, 0, 0),
        (0x24, 1): (0, 0, 4, 0),
    }
    assert yongfeng[0xC0000000, 0] == (0xC0000001, 0, 0, 0)
    assert yongfeng[0xC0000001, 0] == (0x7B3, 0, 0, 0x3DCC)
    assert (genoa[0x80000000, 0][0], genoa[0x80000022, 0]) == (0x80000022, (1, 0, 0, 0))
