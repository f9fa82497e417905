"""Leaves of KVM_GET_SUPPORTED_CPUID that hang on no list of features, by kernel, as data.

Source: arch/x86/kvm/cpuid.c, cpuid_function_is_indexed and __do_cpuid_func; read in Linux 5.10.262, 6.1.192, 6.6.9,
6.12.117, 6.16.1, 6.17.0, 6.18.2, 6.19.9, 7.0.0, 7.1.3, 7.2.13 and 7.3.4.
"""

from __future__ import annotations

#: Leaves whose entries have KVM_CPUID_FLAG_SIGNIFCANT_INDEX (cpuid_function_is_indexed), from a release on.
INDEXED_LEAVES = {
    (5, 10): frozenset((4, 7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1F, 0x8000001D)),
    (5, 17): frozenset((0x1D, 0x1E)),
    (6, 12): frozenset((0x24,)),
}
#: Those whose sub-leaf counts for any of them.
ANY_INDEXED_LEAVES = frozenset[int]().union(*INDEXED_LEAVES.values())
#: CPUID(0x40000001).EAX of KVM_GET_SUPPORTED_CPUID, the same in every release: bits 0, 1, 3 to 7, 9 to 14, 24
#: (__do_cpuid_func, case KVM_CPUID_FEATURES, with CONFIG_SCHED_INFO).
KVM_FEATURES_EAX = 0x01007EFB
