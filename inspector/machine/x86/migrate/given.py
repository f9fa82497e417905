"""What KVM gives to guests, bit by bit, and since which release."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from inspector.machine.x86.kvm.supported_cpuid import supported_table
from inspector.machine.x86.migrate.places import Place
from layouts.kernels import release_numbers
from layouts.x86.features import REGISTERS
from layouts.x86.kernels import kernels

#: KVMs are few, and each is asked for many bits.
_table = lru_cache(maxsize=256)(supported_table)


def gives(kvm: Kvm, place: Place) -> bool:
    """A KVM gives a bit of CPUID, of XCR0 or of XSS to its guests (KVM_GET_SUPPORTED_CPUID)."""
    if place.kind == "xcr0":
        return bool(kvm.xcr0 >> place.low & 1)
    if place.kind == "xss":
        return bool(kvm.xss >> place.low & 1)
    row = _table(kvm).get(place.at, place.subleaf)
    return bool(row and row[REGISTERS.index(place.register)] >> place.low & 1)


def first_release(place: Place, *, is_vmx: bool) -> tuple[int, int] | None:
    """The first release whose KVM gives the bit on a CPU that has it; None where every known one does, or none."""
    if place.kind in ("xcr0", "xss"):
        masks = [(kernel, kernel.kvm_xcr0 if place.kind == "xcr0" else kernel.kvm_xss) for kernel in kernels().values()]
        having = [kernel.since or kernel.version for kernel, mask in masks if mask >> place.low & 1]
    else:
        vendor = VMX if is_vmx else SVM
        having = [release for release, kvm in _on_any_cpu(vendor).items() if gives(kvm, place)]
    return release_numbers(having[0]) if 0 < len(having) < len(kernels()) else None


@cache
def _on_any_cpu(vendor: str) -> Mapping[str, Kvm]:
    """Every known release on a CPU that has all features of a vendor."""
    from inspector.machine.x86.kvm.any_cpu import AMD, INTEL, any_cpu
    from inspector.machine.x86.kvm.assumed import assumed_kvm

    cpu = any_cpu(INTEL if vendor == VMX else AMD)
    return {release: assumed_kvm(cpu, release) for release in kernels()}
