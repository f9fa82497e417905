"""Leaves of a named model's CPUID: the highest ones, what an XSAVE area has, AVX10, tiles and Centaur's."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.models.cpuid import components_of, guest_cpuid, levels_of
from inspector.machine.x86.models.offer import Offer, offer_of_cpuid
from tests.machine.x86_models import every, made

INTEL = (0x756E6547, 0x6C65746E, 0x49656E69)
#: PKRU where AMD has it, in the hole of MPX (AMD APM vol. 2, 11.5), CET's two without a place of their own.
XSAVE = {
    (0xD, 0): (0x207, 840, 840, 0),
    (0xD, 1): (0xF, 840, 0x1800, 0),
    (0xD, 2): (256, 576, 0, 0),
    (0xD, 9): (8, 832, 0, 0),
    (0xD, 11): (16, 0, 1, 0),
    (0xD, 12): (24, 0, 1, 0),
    (0xD, 62): (128, 0, 0, 0),
}


def with_rows(rows: dict[tuple[int, int], tuple[int, int, int, int]]) -> Offer:
    """A host that has every feature, and of these leaves these values."""
    table = Cpuid({(0, 0): (0x29, *INTEL), **rows})
    return every(vendor="GenuineIntel")._replace(cpuid=offer_of_cpuid("h", table).cpuid)


@pytest.mark.parametrize(
    ("names", "levels"),
    [
        ("", (0, 0, 0, 0)),
        ("sse2", (1, 0, 0, 0)),
        ("pni", (1, 0, 0, 0)),
        ("arat", (6, 0, 0, 0)),
        ("fsgsbase", (7, 0, 0, 0)),
        ("umip", (7, 0, 0, 0)),
        ("fzrm", (7, 1, 0, 0)),
        ("prefetchiti", (7, 1, 0, 0)),
        ("mcdt-no", (7, 2, 0, 0)),
        ("syscall", (0, 0, 0x80000001, 0)),
        ("lahf-lm", (0, 0, 0x80000001, 0)),
        ("invtsc", (0, 0, 0x80000007, 0)),
        ("ibpb", (0, 0, 0x80000008, 0)),
        ("svm", (0, 0, 0x8000000A, 0)),
        ("null-sel-clr-base", (0, 0, 0x80000021, 0)),
        ("xstore", (0, 0, 0, 0xC0000001)),
        ("sgx", (0x12, 0, 0, 0)),
        ("intel-pt", (0x14, 0, 0, 0)),
        ("avx10 avx10-128 avx10-256 avx10-512", (0x24, 1, 0, 0)),
        ("apxf", (0x29, 1, 0, 0)),
        # x86_cpu_expand_features passes these words by.
        ("md-clear", (0, 0, 0, 0)),
        ("overflow-recov", (0, 0, 0, 0)),
        ("tsa-sq-no", (0, 0, 0, 0)),
    ],
)
def test_a_feature_raises_the_highest_leaf_of_its_region(names: str, levels: tuple[int, ...]) -> None:
    assert levels_of(made("base", every(accelerator="tcg"), **dict.fromkeys(names.split(), "on"))) == levels


def test_components_come_with_xsave_and_supervisors_with_xsaves() -> None:
    cet = {"cet_ss": "on", "cet_ibt": "on", "shstk": "on"}
    assert components_of(made("base", every(), **cet)) == (0, 0)
    assert components_of(made("base", every(), xsave="on", **cet)) == (3, 0)
    assert components_of(made("base", every(), xsave="on", xsaves="on", **cet)) == (3, 0x1800)


def test_an_xsave_area_is_the_hosts() -> None:
    table = guest_cpuid(made("host", with_rows(XSAVE), arch_lbr="off")).leaves
    assert {key: row for key, row in table.items() if key[0] == 0xD and key[1] not in (0, 1)} == {
        key: XSAVE[key] for key in XSAVE if 1 < key[1] < 62
    }
    assert (table[0xD, 0][1:], table[0xD, 1][1:]) == ((840, 840, 0), (576 + 256 + 8 + 16 + 24, 0x1800, 0))
    supervisors = {key: row for key, row in XSAVE.items() if key[1] in (0, 1, 11, 12)}
    assert guest_cpuid(made("host", with_rows(supervisors))).leaves[0xD, 0][1:3] == (576, 576)


@pytest.mark.parametrize(
    ("model", "host", "words", "row"),
    [
        # The model's or the user's version, where the host's is lower that one.
        ("DiamondRapids", {(0x24, 0): (1, 0x70002, 0, 0)}, {}, (1, 0x70002)),
        ("DiamondRapids", {(0x24, 0): (0, 0x70001, 0, 0)}, {}, (1, 0x70001)),
        ("DiamondRapids", {(0x24, 0): (1, 0x70002, 0, 0)}, {"avx10_version": "1"}, (0, 0x70001)),
        ("GraniteRapids-v2", {(0x24, 0): (1, 0x70002, 0, 0)}, {}, (0, 0x70001)),
        ("GraniteRapids-v2", {(0x24, 0): (1, 0x70002, 0, 0)}, {"avx10_version": "2"}, (1, 0x70002)),
        ("GraniteRapids-v2", {}, {"avx10": "off"}, None),
        ("host", {(0x24, 0): (1, 0x70002, 0, 0)}, {}, (1, 0x70002)),
        ("host", {(0x24, 0): (0, 0x70001, 0, 0)}, {}, (0, 0x70001)),
        # By its features alone: AVX10_VNNI_INT is every CPU's of version 2.
        ("host", {}, {}, (1, 0x70002)),
        ("DiamondRapids", {}, {"avx10_version": "3"}, (1, 0x70002)),
    ],
)
def test_the_version_of_avx10(
    model: str,
    host: dict[tuple[int, int], tuple[int, int, int, int]],
    words: dict[str, str],
    row: tuple[int, int] | None,
) -> None:
    offer = with_rows(host) if host else every(vendor="GenuineIntel")
    found = guest_cpuid(made(model, offer, level="0x29", **words)).get(0x24)
    assert (found[:2] if found else None) == row


def test_what_a_host_of_features_has_of_avx10() -> None:
    first = every("avx10-vnni-int", vendor="GenuineIntel")
    assert guest_cpuid(made("DiamondRapids", first)).leaves[0x24, 0][:2] == (1, 0x70001)
    assert guest_cpuid(made("host", first, level="0x24")).leaves[0x24, 0][:2] == (0, 0x70001)
    # Sub-leaf 1 is of 11.0.
    old = guest_cpuid(made("host", every(vendor="GenuineIntel"), qemu="10.0", level="0x24", avx10_version="2"))
    assert old.leaves[0x24, 0][:2] == (0, 0x70002)


@pytest.mark.parametrize(
    ("qemu", "host", "highest"),
    [
        ("", {(0x1E, 0): (1, 0x4010, 0, 0)}, 1),
        ("", {(0x1E, 0): (0, 0x4010, 0, 0)}, 0),
        ("", {(0, 0): (0x1D, *INTEL)}, 0),
        ("10.0", {(0x1E, 0): (1, 0x4010, 0, 0)}, 0),
    ],
)
def test_the_highest_leaf_of_tile_multiplication_is_the_hosts(
    qemu: str, host: dict[tuple[int, int], tuple[int, int, int, int]], highest: int
) -> None:
    """``x86_cpu_get_supported_cpuid(0x1E)``, from 11.0 on."""
    found = guest_cpuid(made("SapphireRapids-v1", with_rows(host), qemu=qemu))
    assert found.leaves[0x1E, 0] == (highest, 0x4010, 0, 0)


@pytest.mark.parametrize(
    ("words", "leaves"),
    [
        ({}, {}),
        ({"xstore": "on"}, {0xC0000000: (0xC0000001, 0, 0, 0), 0xC0000001: (0x600, 0, 0, 1 << 2)}),
        ({"xlevel2": "0xc0000000"}, {0xC0000000: (0xC0000000, 0, 0, 0)}),
        ({"min_xlevel2": "0xc0000001"}, {0xC0000000: (0xC0000001, 0, 0, 0), 0xC0000001: (0x600, 0, 0, 0)}),
    ],
)
def test_centaurs_leaves(words: dict[str, str], leaves: dict[int, tuple[int, ...]]) -> None:
    """As the emulator answers: the highest, and the version again, where the guest has such leaves at all."""
    table = guest_cpuid(made("base", every(accelerator="tcg"), family="6", **words)).leaves
    assert {leaf: row for (leaf, _), row in table.items() if leaf >> 28 == 0xC} == leaves


def test_kvms_own_leaf_is_of_no_region() -> None:
    """kvm_x86_build_cpuid: it is there whatever the highest leaf is."""
    assert guest_cpuid(made("486", every(), level="0", xlevel="0")).get(0x40000001) == (0x100007B, 0, 0, 0)
