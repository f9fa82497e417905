"""Numbers of JSON, CBOR and TOML: what counts as one."""

from __future__ import annotations

from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TypeGuard

#: KVM_REG_SIZE_U2048, the largest size that an id may say (Linux include/uapi/linux/kvm.h).
MAX_REGISTER_BITS = 2048


def is_number(value: Any, bits: int = 64) -> TypeGuard[int]:
    """An integer of at most that many bits, not negative. ``true`` is none, though Python counts it among them."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits
