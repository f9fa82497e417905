"""IA32_PAT: eight memory types, of the guest and of a nested one.

Source: Linux arch/x86/kvm/x86.h, kvm_pat_valid.
"""

from __future__ import annotations

PAT, PAT_RESET = 0x277, 0x0007040600070406
_TYPES = frozenset((0, 1, 4, 5, 6, 7))


def valid_pat(value: int) -> bool:
    """kvm_pat_valid."""
    return _TYPES.issuperset(value.to_bytes(8, "little"))
