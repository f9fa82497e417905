"""KVM register ids of every architecture: which one an id is of, and what it names there.

Source: Linux ``include/uapi/linux/kvm.h``, KVM_REG_ARCH_MASK and KVM_REG_SIZE_MASK.
"""

from __future__ import annotations

from layouts.arm64 import ids
from layouts.arm64 import kvm_ids as arm64
from layouts.arm64.kvm_ids import Explained
from layouts.register_id import RegisterId
from layouts.riscv import kvm_ids as riscv
from layouts.x86 import kvm_ids as x86

_NAMES = {
    0x10: "ppc",
    x86.ARCHITECTURE: "x86",
    0x30: "ia64",
    ids.ARM32: "arm",
    0x50: "s390",
    ids.ARM64: "arm64",
    0x70: "mips",
    riscv.ARCHITECTURE: "riscv",
    0x90: "loongarch",
}


def architecture_name(register_id: int) -> str:
    """The architecture in an id's upper byte; empty when it is none."""
    return _NAMES.get(RegisterId(register_id).architecture, "")


def explain(register_id: int) -> Explained:
    """What an id names. Never fails: what is unknown gets a path with its number."""
    found = RegisterId(register_id)
    other = {x86.ARCHITECTURE: x86.path_and_title, riscv.ARCHITECTURE: riscv.path_and_title}.get(found.architecture)
    return Explained(found, *other(found)) if other is not None else arm64.explain(found)


def kind(register_id: int) -> str:
    """The part of an id that says which kind of register it is."""
    found = ids.RegisterId(register_id)
    if found.architecture == x86.ARCHITECTURE:
        return x86.kind(found)
    if found.architecture == riscv.ARCHITECTURE:
        return riscv.kind(found)
    return f"coprocessor {found.coprocessor:#x} ({arm64.coprocessor_title(found.coprocessor)})"
