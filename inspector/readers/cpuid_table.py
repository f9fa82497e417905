"""The CPUID table in the bytes of a ``struct kvm_cpuid2``."""

from __future__ import annotations

from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Bytes
from layouts.x86.kvm_counted import cpuid2_unpack


def cpuid_of(data: Bytes) -> Cpuid | None:
    """The CPUID table of a ``struct kvm_cpuid2``; None when it has no entry."""
    leaves: dict[tuple[int, int], CpuidValues] = {}
    for leaf, subleaf, _, eax, ebx, ecx, edx in cpuid2_unpack(data):
        leaves.setdefault((leaf, subleaf), (eax, ebx, ecx, edx))
    return Cpuid(leaves) if leaves else None
