"""What KVM passes on of a host's CPUID to KVM_GET_SUPPORTED_CPUID, by kernel, as data.

Source: arch/x86/kvm/cpuid.c, kvm_set_cpu_caps (the F(...) of each word; bit numbers from
arch/x86/include/asm/cpufeatures.h) and __do_cpuid_func, case 7; read in Linux 5.10.262, 6.1.192, 6.6.9,
6.12.117, 6.16.1, 6.17.0, 6.18.2, 6.19.9, 7.0.0, 7.1.3, 7.2.13 and 7.3.4.
"""

from __future__ import annotations

from typing import NamedTuple

#: CPUID(7,0).EBX[1] and EDX[29]: given to every guest, whatever the host has (EMULATED_F).
TSC_ADJUST = 1 << 1
ARCH_CAPABILITIES = 1 << 29
#: CPUID(7,0).ECX[2]: KVM on Intel emulates it by descriptor-table exits (vmx_umip_emulated).
UMIP = 1 << 2
#: CPUID(7,0).ECX[5]: VMX with the user-wait control only (cpu_has_vmx_waitpkg).
WAITPKG = 1 << 5
#: CPUID(7,0).EBX[9]: Linux takes it from a host whose IA32_MISC_ENABLE has no fast strings (early_init_intel).
ERMS = 1 << 9


class Leaf7(NamedTuple):
    """Leaf 7: the highest sub-leaf, and the bits of sub-leaf 0 that pass where the host has them."""

    max_subleaf: int
    ebx: int
    ecx: int
    edx: int


#: By the release from which on it holds.
LEAF_7 = {
    (5, 10): Leaf7(1, 0xFDBF0BB9, 0x1A415F4E, 0x8C01451C),
    # AVX512-FP16, AMX, MD_CLEAR's neighbours; SGX, FDP_EXCPTN_ONLY and ZERO_FCS_FDS; SGX_LC.
    (6, 1): Leaf7(2, 0xFDBF2FFD, 0x5B415F4E, 0x8FC1451C),
    # FLUSH_L1D.
    (6, 6): Leaf7(1, 0xFDBF2FFD, 0x5B415F4E, 0x9FC1451C),
    (6, 12): Leaf7(2, 0xFDBF2FFD, 0x5B415F4E, 0x9FC1451C),
    # Shadow stacks and indirect branch tracking.
    (6, 18): Leaf7(2, 0xFDBF2FFD, 0x5B415FCE, 0x9FD1451C),
}

#: Leaves whose entries have KVM_CPUID_FLAG_SIGNIFCANT_INDEX (cpuid_function_is_indexed), from a release on.
INDEXED_LEAVES = {
    (5, 10): frozenset((4, 7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1F, 0x8000001D)),
    (5, 17): frozenset((0x1D, 0x1E)),
    (6, 12): frozenset((0x24,)),
}
#: CPUID(0x40000001).EAX of KVM_GET_SUPPORTED_CPUID, the same in every release: bits 0, 1, 3 to 7, 9 to 14, 24
#: (__do_cpuid_func, case KVM_CPUID_FEATURES, with CONFIG_SCHED_INFO).
KVM_FEATURES_EAX = 0x01007EFB
