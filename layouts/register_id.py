"""A KVM register id, of any architecture: the 64-bit number that KVM_GET_ONE_REG and KVM_SET_ONE_REG take.

Source: Linux ``include/uapi/linux/kvm.h``: KVM_REG_ARCH_MASK, KVM_REG_SIZE_MASK. What the lower 52 bits say is each
architecture's own: :mod:`layouts.arm64.ids`, :mod:`layouts.x86.kvm_ids`, :mod:`layouts.riscv.kvm_ids`.
"""

from __future__ import annotations

from layouts.vocabulary import Bits

_ARCHITECTURE = Bits("KVM_REG_ARCH", 56, 8)
_SIZE = Bits("KVM_REG_SIZE", 52, 4)


class RegisterId(int):
    """A register id. ``size_bytes`` is what the id says, not what the register has: an id may be wrong."""

    __slots__ = ()

    @property
    def architecture(self) -> int:
        """KVM_REG_ARM64, KVM_REG_X86 and the like, as the upper byte."""
        return _ARCHITECTURE.get(self)

    @property
    def size_bytes(self) -> int:
        """The size of the register in bytes: bits 55:52 are its logarithm."""
        return size_bytes_of(self)


def size_bytes_of(register_id: int) -> int:
    """The size in bytes that an id says."""
    return 1 << _SIZE.get(register_id)


def upper_bits(architecture: int, size_bytes: int) -> int:
    """The upper 12 bits of an id, at their place; the size is a power of two."""
    return _SIZE.put(_ARCHITECTURE.put(0, architecture), size_bytes.bit_length() - 1)
