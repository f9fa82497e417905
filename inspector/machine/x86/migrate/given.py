"""What KVM gives to guests, bit by bit, and since which release."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from inspector.machine.x86.kvm.supported_cpuid import Supported
from inspector.machine.x86.migrate.places import Place, linux_names
from layouts.by_name import ByName
from layouts.kernels import release_numbers
from layouts.light import cache, lru_cache
from layouts.x86.features import REGISTERS
from layouts.x86.kernels import kernels
from layouts.x86.kvm_caps import KVM_FEATURES

#: The leaves of CPUID are in ranges, of which the first leaf tells the last: basic, hypervisors', extended.
_RANGES = 0xC0000000


def gives(kvm: Kvm, place: Place) -> bool:
    """A KVM gives a bit of CPUID, of XCR0 or of XSS to its guests (KVM_GET_SUPPORTED_CPUID)."""
    if place.kind == "xcr0":
        return bool(kvm.xcr0 >> place.low & 1)
    if place.kind == "xss":
        return bool(kvm.xss >> place.low & 1)
    if _has(kvm, place) is False:
        # What the mask of a register lacks, the register lacks, and the mask is known sooner.
        return False
    supported = Supported(kvm)
    if place.at > supported.leaf(place.at & _RANGES)[-1].eax:
        return False
    rows = [entry.values for entry in supported.leaf(place.at) if entry.subleaf == place.subleaf]
    return any(row[REGISTERS.index(place.register)] >> place.low & 1 for row in rows)


def _has(kvm: Kvm, place: Place) -> bool | None:
    """kvm_cpu_cap_has; None of a bit without a name, and of a register that this release has no mask of."""
    name, since = _cap(place)
    return kvm.has(name) if name and since is not None and kvm.since(*since) else None


@lru_cache(maxsize=4096)
def _cap(place: Place) -> tuple[str | None, tuple[int, int] | None]:
    """Linux's name of a bit, and the first release whose KVM has a mask of its register."""
    releases = KVM_FEATURES.get(f"{place.at:x}.{place.subleaf:x}.{place.register}")
    return linux_names().get(place.key), min(releases) if releases else None


def first_release(place: Place, *, is_vmx: bool) -> tuple[int, int] | None:
    """The first release whose KVM gives the bit on a CPU that has it; None where every known one does, or none."""
    every = kernels()
    if place.kind in ("xcr0", "xss"):
        masks = ((kernel, kernel.kvm_xcr0 if place.kind == "xcr0" else kernel.kvm_xss) for kernel in every.values())
        having = (kernel.since or kernel.version for kernel, mask in masks if mask >> place.low & 1)
    else:
        on_any_cpu = _on_any_cpu(VMX if is_vmx else SVM)
        having = (release for release in every if _has(on_any_cpu[release], place))
    # The first one tells: later ones need not be made.
    first = release_numbers(next(having, ""))
    return first if first != release_numbers(next(iter(every))) else None


@cache
def _on_any_cpu(vendor: str) -> Mapping[str, Kvm]:
    """Every known release on a CPU that has all features of a vendor."""
    from inspector.machine.x86.kvm.any_cpu import AMD, INTEL, any_cpu
    from inspector.machine.x86.kvm.assumed import assumed_kvm

    cpu = any_cpu(INTEL if vendor == VMX else AMD)
    return ByName(kernels(), lambda release: assumed_kvm(cpu, release))
