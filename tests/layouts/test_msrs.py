"""MSRs by number and by name: each name is one number's, and a QEMU stream has no name that nobody knows."""

from __future__ import annotations

from layouts.files.qemu import X86_FIELDS
from layouts.x86.msrs import MSR_NAMES, msr_name, msr_numbers


def test_a_name_is_one_numbers() -> None:
    numbers = msr_numbers()
    assert all(msr_name(index) == name for name, index in numbers.items())
    assert set(MSR_NAMES) <= set(numbers.values())
    everywhere = (range(0x2000), range(0x40000000, 0x40000200), range(0xC0000000, 0xC0020000))
    named = {index for indexes in everywhere for index in indexes if not msr_name(index).startswith("MSR_0x")}
    assert named <= set(numbers.values())
    assert [numbers[f"IA32_{name}"] for name in ("MC9_MISC", "MTRR_PHYSMASK7", "MTRR_FIX4K_F8000", "PMC3")] == [
        0x427, 0x20F, 0x26F, 0xC4
    ]  # fmt: skip


def test_every_msr_of_a_stream_has_a_number() -> None:
    """But the records of last branches, which QEMU sets where the host has as many."""
    names = {
        mapped.path.format(name=name, n=mapped.first)
        for (_, field), mapped in X86_FIELDS.items()
        for name in mapped.names or ("",)
        if mapped.path.startswith("msr.") and not field.startswith("env.lbr_records")
    }
    assert {name for name in names if name.removeprefix("msr.") not in msr_numbers()} == set()
