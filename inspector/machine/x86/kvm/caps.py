"""kvm_cpu_caps: what KVM has for guests, by word of CPUID.

Source: Linux arch/x86/kvm/cpuid.c, kvm_set_cpu_caps; svm/svm.c, svm_set_cpu_caps; vmx/vmx.c, vmx_set_cpu_caps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layouts.x86.features import FEATURES, WORDS

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm


def cpu_caps(kvm: Kvm) -> tuple[int, ...]:
    """The masks, in the order of WORDS."""
    found = []
    for leaf, subleaf, register in WORDS:
        values = kvm.host.cpuid.get(leaf, subleaf)
        found.append(values[register] if values else 0)
    return tuple(found)


def names(caps: tuple[int, ...]) -> frozenset[str]:
    """The features that masks have."""
    by_word = dict(zip(WORDS, caps, strict=True))
    return frozenset(
        name for name, (leaf, subleaf, register, bit) in FEATURES.items() if by_word[leaf, subleaf, register] >> bit & 1
    )
