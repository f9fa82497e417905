"""KVM_GET_SUPPORTED_HV_CPUID: the Hyper-V leaves that KVM offers.

Source: Linux arch/x86/kvm/hyperv.c, kvm_get_hv_cpuid (5.10: kvm_vcpu_ioctl_get_hv_cpuid).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.machine.x86.kvm.guest_cpuid import Entry
from layouts.x86.cpuid import HYPERV_INTERFACE

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm

_SIGNATURE = tuple(int.from_bytes(b"Linux KVM Hv"[at : at + 4], "little") for at in (0, 4, 8))
#: Leaf 0x40000003.EAX: VP_RUNTIME to REENLIGHTENMENT; TSC_INVARIANT from 6.2 on.
_ACCESS, _TSC_INVARIANT = 0x2AFF, 1 << 15
#: EBX: POST_MESSAGES, SIGNAL_EVENTS, DEBUGGING; EXTENDED_HYPERCALLS from 6.2 on.
_HYPERCALLS, _EXTENDED_HYPERCALLS = 0x830, 1 << 20
#: EDX: GUEST_DEBUGGING, FREQUENCY_MSRS, GUEST_CRASH_MSR, DEBUG_MSRS, STIMER_DIRECT_MODE; XMM input from 5.14 on, ranges
#: of GVA flushes from 6.2 on.
_FEATURES, _STIMER_DIRECT, _XMM_INPUT, _GVA_RANGES = 0xD02, 1 << 19, 1 << 4, 1 << 14
#: Leaf 0x40000004.EAX.
_RECOMMENDED, _CLUSTER_IPI, _EVMCS, _NO_CORESHARING, _NO_AEOI = 0x82C, 1 << 10, 1 << 14, 1 << 18, 1 << 9
_SPINLOCK_RETRIES = 0xFFF
#: Leaf 0x4000000A: MSR bitmap and, from 6.2 on, direct flush; EBX PERF_GLOBAL_CTRL of eVMCS.
_MSR_BITMAP, _DIRECT_FLUSH = 1 << 19, 1 << 17
_EVMCS_VERSION = 0x101


def hyperv_cpuid(kvm: Kvm, *, of_vcpu: bool, has_lapic: bool = True, has_evmcs: bool = False) -> tuple[Entry, ...]:
    """The entries, of the system or of a vCPU; an eVMCS version is there for Intel's system, and where it is on."""
    evmcs = _EVMCS_VERSION if kvm.is_vmx and kvm.is_on("nested") and (has_evmcs or not of_vcpu) else 0
    newer = kvm.since(6, 2)
    eax = _ACCESS | (_TSC_INVARIANT if newer else 0)
    ebx = _HYPERCALLS | (_EXTENDED_HYPERCALLS if newer else 0)
    edx = _FEATURES | (_STIMER_DIRECT if has_lapic or not of_vcpu else 0)
    edx |= (_XMM_INPUT if kvm.since(5, 14) else 0) | (_GVA_RANGES if newer else 0)
    advice = _RECOMMENDED | (_CLUSTER_IPI if has_lapic or not of_vcpu or not kvm.since(6, 12) else 0)
    advice |= (_EVMCS if evmcs else 0) | (0 if kvm.smt_possible else _NO_CORESHARING)
    advice |= _NO_AEOI if kvm.since(5, 11) else 0
    nested = evmcs | _MSR_BITMAP | (_DIRECT_FLUSH if newer else 0)
    found = [
        Entry(0x40000000, 0, 0, 0x40000082, *_SIGNATURE),
        Entry(0x40000001, 0, 0, HYPERV_INTERFACE, 0, 0, 0),
        Entry(0x40000002, 0, 0, 0x3839, 0xA0000, 0, 0),
        Entry(0x40000003, 0, 0, eax, ebx, 0, edx),
        Entry(0x40000004, 0, 0, advice, _SPINLOCK_RETRIES, 0, 0),
        Entry(0x40000005, 0, 0, kvm.msr_rules.max_vcpus, 64, 0, 0),
        Entry(0x40000080, 0, 0, 0, *_SIGNATURE),
        Entry(0x40000081, 0, 0, 0x31235356, 0, 0, 0),
        Entry(0x40000082, 0, 0, 2, 0, 0, 0),
    ]
    if evmcs or kvm.since(5, 14):
        found.append(Entry(0x4000000A, 0, 0, nested, int(kvm.since(6, 1)), 0, 0))
    return tuple(found)
