"""Standard and compacted offsets, against what CPUs and kernels report."""

from __future__ import annotations

import itertools

import pytest

from inspector.capture.attributes import Room, XsaveTable
from inspector.decode.placement import (
    compacted_places,
    guess_table,
    standard_places,
    table_from_cpuid,
    table_from_layout,
)
from layouts.x86.cpus import cpu_layouts
from layouts.x86.xsave import BY_NUMBER, COMPONENTS
from tests.support import SAMPLES

#: mask -> (compacted size, offsets of some components); Intel SDM vol. 1, 13.4.3, and Linux dmesg.
COMPACTED = {
    0x7: (832, {2: 576}),
    0x207: (840, {9: 832}),
    0xE7: (2432, {5: 832, 6: 896, 7: 1408}),
    0x2E7: (2440, {9: 2432}),
    0x2FF: (2568, {3: 832, 4: 896, 5: 960, 6: 1024, 7: 1536, 9: 2560}),
    0x202E7: (2560, {9: 2432, 17: 2496}),
    0x602E7: (10752, {17: 2496, 18: 2560}),
    0x602E7 | 0x1C00: (10752, {18: 2560}),
    0x602E7 | 0x100: (10880, {8: 2432, 9: 2560, 17: 2624, 18: 2688}),
    0x602E7 | 0xDD00: (11776, {17: 3520, 18: 3584}),
    0x602E7 | 0x1DD00: (11776, {17: 3520, 18: 3584}),
    0x600E7 | 0x1800: (10752, {}),
    0xE02E7: (10880, {19: 10752}),
}


@pytest.mark.parametrize("mask", COMPACTED, ids=hex)
def test_compacted(mask: int) -> None:
    size, offsets = COMPACTED[mask]
    placed = compacted_places(table_from_layout("apx"), mask)
    assert placed[-1].offset + placed[-1].size_bytes == size
    found = {place.component: place.offset for place in placed}
    assert offsets.items() <= found.items()


@pytest.mark.parametrize(
    ("layout", "mask", "size"),
    [
        ("sapphire-rapids", 0x7, 832),
        ("sapphire-rapids", 0x207, 2696),
        ("sapphire-rapids", 0xE7, 2688),
        ("sapphire-rapids", 0x2E7, 2696),
        ("sapphire-rapids", 0x202E7, 2816),
        ("sapphire-rapids", 0x602E7, 11008),
        ("apx", 0xE02E7, 11008),
        ("zen5", 0xE7, 2432),
        ("zen5", 0x2E7, 2440),
        ("zen3", 0x207, 2440),
        ("haswell", 0x7, 832),
        ("skylake", 0x1F, 1088),
    ],
)
def test_standard(layout: str, mask: int, size: int) -> None:
    placed = standard_places(table_from_layout(layout), mask, 1 << 16)
    assert max(place.offset + place.size_bytes for place in placed) == size


@pytest.mark.parametrize("name", cpu_layouts())
def test_shipped_layouts_agree_with_their_own_sizes(name: str) -> None:
    """CPUID(0xD,0).ECX is the size for all user components; sizes are those of the declarations."""
    cpu = cpu_layouts()[name]
    table = table_from_cpuid(cpu.leaf_0xd, name)
    placed = standard_places(table, 0, 1 << 16)
    assert max(place.offset + place.size_bytes for place in placed) == cpu.leaf_0xd[0][2]
    for earlier, later in itertools.pairwise(placed):
        assert earlier.offset + earlier.size_bytes <= later.offset
    for room in table.rooms:
        if (name, room.component) != ("zen2", 9):  # Rome enumerates 64 bytes for a PKRU it has not
            assert room.size_bytes == BY_NUMBER[room.component].size_bytes
        assert room.align64 == BY_NUMBER[room.component].align64


def test_unknown_component_stops_compacted_placement() -> None:
    table = XsaveTable((Room(2, 256, 576, False),), "test")
    assert [place.component for place in compacted_places(table, 0x7 | 1 << 30 | 1 << 40)] == [2]


def test_declared_sizes() -> None:
    for component in COMPONENTS:
        if component.construct is not None:
            assert component.construct.sizeof() == component.size_bytes, component.name


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("amx/vcpu-permitted.kvm_xsave2.bin", "guess: sapphire-rapids"),
        ("zen5-kvm/vcpu0_xsave_set.bin", "guess: zen4"),
    ],
)
def test_guess_says_that_it_is_one(file: str, expected: str) -> None:
    data = (SAMPLES / file).read_bytes()
    table = guess_table(data, len(data))
    assert table.guessed
    assert table.origin.startswith(expected)


def test_guess_names_the_doubt() -> None:
    data = (SAMPLES / "zen5-kvm/vcpu0_reset_xsave.bin").read_bytes()
    assert "fits as well" in guess_table(data, len(data)).origin
