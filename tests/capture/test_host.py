"""CPUID as facts: leaves, vendor, family and model as the manuals put them together; hints for names."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid
from inspector.capture.nearest import did_you_mean


def leaf0(vendor: str) -> tuple[int, int, int, int]:
    """CPUID.0 with a vendor: EBX, EDX, ECX (Intel SDM vol. 2, CPUID)."""
    ebx, edx, ecx = (int.from_bytes(vendor.encode()[at : at + 4], "little") for at in (0, 4, 8))
    return 0x20, ebx, ecx, edx


def test_leaves_are_found_by_number_and_sub_leaf() -> None:
    cpuid = Cpuid({(1, 0): (1, 2, 3, 4), (0xD, 0): (7, 0, 0, 0), (0xD, 2): (256, 576, 0, 0)})
    assert cpuid.get(1) == (1, 2, 3, 4)
    assert cpuid.get(1, 1) is None
    assert cpuid.xsave_table() == {0: (7, 0, 0, 0), 2: (256, 576, 0, 0)}
    assert len(cpuid) == 3
    assert list(cpuid) == [(1, 0), (0xD, 0), (0xD, 2)]


def test_the_table_is_a_copy() -> None:
    given = {(1, 0): (0, 0, 0, 0)}
    cpuid = Cpuid(given)
    given.clear()
    assert cpuid.get(1) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("vendor", "eax", "expected"),
    [
        ("GenuineIntel", 0x806F8, ("GenuineIntel", 6, 0x8F, 8)),
        ("AuthenticAMD", 0xB40F40, ("AuthenticAMD", 0x1A, 0x44, 0)),
        # Below family 6 the extended model does not count.
        ("GenuineIntel", 0xF0543, ("GenuineIntel", 5, 4, 3)),
    ],
)
def test_family_and_model(vendor: str, eax: int, expected: tuple[str, int, int, int]) -> None:
    assert Cpuid({(0, 0): leaf0(vendor), (1, 0): (eax, 0, 0, 0)}).signature() == expected


def test_without_leaves_nothing_is_made_up() -> None:
    assert Cpuid({}).vendor() == ""
    assert Cpuid({}).signature() is None
    assert Cpuid({(1, 0): (0x806F8, 0, 0, 0)}).signature() == ("", 6, 0x8F, 8)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("saphire", "did you mean sapphire-rapids? LIST has them all"),
        ("rapids", "did you mean granite-rapids or sapphire-rapids? LIST has them all"),
        ("zzzz", "LIST has them all"),
        ("ra", "LIST has them all"),
    ],
)
def test_a_mistyped_name_gets_the_nearest(word: str, expected: str) -> None:
    assert did_you_mean(word, ["sapphire-rapids", "granite-rapids", "skylake-x"], "LIST") == expected
