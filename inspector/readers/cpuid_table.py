"""The CPUID table in the bytes of a ``struct kvm_cpuid2``."""

from __future__ import annotations

from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Bytes


def cpuid_of(data: Bytes) -> Cpuid | None:
    """The CPUID table of a ``struct kvm_cpuid2``; None when it has no entry."""
    leaves: dict[tuple[int, int], CpuidValues] = {}
    count = int.from_bytes(data[:4], "little")
    for at in range(8, min(8 + 40 * count, len(data) - 39), 40):
        leaf, subleaf, _, eax, ebx, ecx, edx = (
            int.from_bytes(data[at + 4 * n : at + 4 * n + 4], "little") for n in range(7)
        )
        leaves.setdefault((leaf, subleaf), (eax, ebx, ecx, edx))
    return Cpuid(leaves) if leaves else None
