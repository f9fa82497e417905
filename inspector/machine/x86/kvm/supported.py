"""What KVM offers to guests: KVM_GET_SUPPORTED_CPUID, and the tables that are made of it.

Source: Linux arch/x86/kvm/cpuid.c, __do_cpuid_func and kvm_set_cpu_caps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inspector.capture.host import CpuidValues
from inspector.machine.x86.host import AMX_FEATURES, OSPKE, PKU, Host
from inspector.machine.x86.linux.process import Process
from layouts.x86.kvm_cpuid import ARCH_CAPABILITIES, ERMS, LEAF_7, TSC_ADJUST, UMIP, WAITPKG
from layouts.x86.xsave import DYNAMIC, TILECFG, XTILE

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

    Without it newer kernels hide XTILECFG too; 6.1 offers it alone, and no XCR0 can have it.
    """
    mask = process.host.kvm_xcr0
    if mask & DYNAMIC and not process.guest_perm & DYNAMIC:
        mask &= ~(XTILE if process.host.kernel.filters_xtile else DYNAMIC)
    return mask


def supported_leaf_0xd(process: Process) -> dict[int, CpuidValues]:
    """Leaf 0xD of KVM_GET_SUPPORTED_CPUID (__do_cpuid_func, case 0xd)."""
    host = process.host
    mask = supported_xcr0(process)
    xss = host.kvm_xss
    native = host.cpuid.xsave_table()
    size = host.standard_size_bytes(mask)
    leaves: dict[int, CpuidValues] = {0: (mask & 0xFFFFFFFF, size, size, mask >> 32)}
    one = native.get(1, (0, 0, 0, 0))
    eax = one[0] & (0x1F if host.kernel.user_dynamic else 0xF)
    if one[0] & 0xA:
        leaves[1] = (eax, host.compacted_size_bytes(mask | xss), xss, 0)
    else:
        leaves[1] = (eax, 0, 0, 0)
    for component in range(2, 63):
        values = native.get(component)
        if values is None or not (mask | xss) >> component & 1:
            continue
        ecx = values[2] if host.uses_xfd else values[2] & ~4
        leaves[component] = (values[0], 0 if values[2] & 1 else values[1], ecx, 0)
    return leaves


def supported_leaf_7(host: Host) -> CpuidValues:
    """Leaf 7(0) of KVM_GET_SUPPORTED_CPUID: what the host has, less what KVM does not know, and what it emulates."""
    release = tuple(int(part) for part in host.kernel.name.split("."))
    known = LEAF_7[max((since for since in LEAF_7 if since <= release), default=min(LEAF_7))]
    eax, ebx, ecx, edx = host.cpuid.get(7) or (0, 0, 0, 0)
    passed = known.ecx | (WAITPKG if host.is_intel else 0)
    if not ecx & OSPKE:
        # The host's Linux has not turned PKU on.
        passed &= ~PKU
    ecx &= passed
    if host.is_intel:
        ecx |= UMIP
    if not host.fast_strings:
        ebx &= ~ERMS
    return min(eax, known.max_subleaf), ebx & known.ebx | TSC_ADJUST, ecx, edx & known.edx | ARCH_CAPABILITIES


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
