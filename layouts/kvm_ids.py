"""KVM register ids of every architecture: which one an id is of, and what it names there.

Source: Linux ``include/uapi/linux/kvm.h``, KVM_REG_ARCH_MASK and KVM_REG_SIZE_MASK.
"""

from __future__ import annotations

from layouts.arm64 import kvm_ids as arm64
from layouts.arm64.kvm_ids import RegisterId
from layouts.riscv import kvm_ids as riscv
from layouts.x86 import kvm_ids as x86

_NAMES = {
    0x10: "ppc",
    x86.ARCHITECTURE: "x86",
    0x30: "ia64",
    arm64.ARM32: "arm",
    0x50: "s390",
    arm64.ARM64: "arm64",
    0x70: "mips",
    riscv.ARCHITECTURE: "riscv",
    0x90: "loongarch",
}


def architecture_name(register_id: int) -> str:
    """The architecture in an id's upper byte; empty when it is none."""
    return _NAMES.get(register_id >> 56, "")


def explain(register_id: int) -> RegisterId:
    """What an id names. Never fails: what is unknown gets a path with its number."""
    other = {x86.ARCHITECTURE: x86.path_and_title, riscv.ARCHITECTURE: riscv.path_and_title}.get(register_id >> 56)
    if other is None:
        return arm64.explain(register_id)
    path, title = other(register_id)
    return RegisterId(register_id, register_id >> 56, 1 << (register_id >> 52 & 15), 0, path, title)


def kind(register_id: int) -> str:
    """The part of an id that says which kind of register it is."""
    architecture = register_id >> 56
    if architecture == x86.ARCHITECTURE:
        return x86.kind(register_id)
    if architecture == riscv.ARCHITECTURE:
        return riscv.kind(register_id)
    number = register_id >> 16 & 0xFFF
    return f"coprocessor {number:#x} ({arm64.coprocessor_title(number)})"
