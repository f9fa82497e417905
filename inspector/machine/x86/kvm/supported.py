"""What KVM offers to the guests of a simulated host: parts of KVM_GET_SUPPORTED_CPUID, and tables made of them."""

from __future__ import annotations

from collections.abc import Callable

from inspector.capture.host import CpuidValues
from inspector.machine.x86.host import AMX_FEATURES, Host
from inspector.machine.x86.kvm.assumed import kvm_on
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.supported_cpuid import Supported
from inspector.machine.x86.linux.process import Process
from layouts.light import NamedTuple, lru_cache
from layouts.x86.xsave import TILECFG, XTILE

KVM_XSAVE_SIZE_BYTES = 4096
_UNKNOWN = 1 << 3 | 1 << 19


class CpuidChange(NamedTuple):
    """What is done to the supported table: to leaf 0xD(0).EAX, to leaf 7(0).EDX."""

    components: Callable[[int], int] = int
    features: Callable[[int], int] = int


#: Tables for KVM_SET_CPUID2 by name.
CPUIDS = {
    "supported": CpuidChange(),
    "no-amx": CpuidChange(lambda eax: eax & ~XTILE, lambda edx: edx & ~AMX_FEATURES),
    "amx": CpuidChange(lambda eax: eax | XTILE),
    "avx-only": CpuidChange(lambda eax: eax & 7),
    "tilecfg-only": CpuidChange(lambda eax: eax & ~XTILE | 1 << TILECFG),
    "unknown-bits-3-19": CpuidChange(lambda eax: eax | _UNKNOWN),
}


def supported_xcr0(process: Process) -> int:
    """The XCR0 bits of KVM_GET_SUPPORTED_CPUID: dynamic ones only with guest permission.

    Source: Linux arch/x86/kvm/x86.h, kvm_get_filtered_xcr0.
    """
    return process.host.permitted_xcr0(process.guest_perm)


def supported_leaf_0xd(process: Process) -> dict[int, CpuidValues]:
    """Leaf 0xD of KVM_GET_SUPPORTED_CPUID, for a process of the host."""
    return {entry.subleaf: entry.values for entry in _leaf(kvm_on(process.host), 0xD, process.guest_perm)}


@lru_cache(maxsize=256)
def _leaf(kvm: Kvm, leaf: int, guest_perm: int = 0) -> tuple[Entry, ...]:
    """The entries of a leaf, made once for a host and a permission."""
    return tuple(Supported(kvm, guest_perm).leaf(leaf))


def supported_leaf_7(host: Host) -> CpuidValues:
    """Leaf 7(0) of KVM_GET_SUPPORTED_CPUID."""
    return _leaf(kvm_on(host), 7)[0].values


def named_cpuid(process: Process, name: str) -> dict[tuple[int, int], CpuidValues]:
    """The supported leaves 7 and 0xD, changed as the name says (:data:`CPUIDS`). Raises ValueError."""
    if name not in CPUIDS:
        raise ValueError(f"no CPUID {name}; there are {', '.join(CPUIDS)}")
    change = CPUIDS[name]
    leaves = {(0xD, subleaf): values for subleaf, values in supported_leaf_0xd(process).items()}
    eax, ebx, ecx, edx = leaves[0xD, 0]
    leaves[0xD, 0] = (change.components(eax), ebx, ecx, edx)
    *others, edx = supported_leaf_7(process.host)
    leaves[7, 0] = (others[0], others[1], others[2], change.features(edx))
    return leaves


def xsave2_capability(process: Process) -> int:
    """KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2); 0 where the kernel does not know it."""
    if not process.host.kernel.kvm_xsave2:
        return 0
    return max(KVM_XSAVE_SIZE_BYTES, process.host.standard_size_bytes(supported_xcr0(process)))
