"""How KVM makes each bit of its feature MSRs, as data: which kernel shows it, by which parameter, what Linux concludes.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), kvm_get_arch_capabilities, kvm_get_feature_msr; vmx/nested.c,
nested_vmx_setup_ctls_msrs; vmx/vmx.c, vmx_get_perf_capabilities; svm/svm.c, svm_get_feature_msr. ``since`` is the first
of the releases that were read (5.10, 6.1, 6.6, 6.12, 6.16 to 7.3) whose source has the bit.
"""

from __future__ import annotations

from layouts.light import NamedTuple

ARCH_CAPABILITIES, PERF_CAPABILITIES, PLATFORM_INFO, DE_CFG = 0x10A, 0x345, 0xCE, 0xC0011029
#: Those of which QEMU's line decides the value that the guest has (kvm_init_msrs, target/i386/kvm/kvm.c).
SET_BY_LINE = frozenset((ARCH_CAPABILITIES, 0xCF))


class MsrBit(NamedTuple):
    """A bit of a feature MSR.

    ``since``: the first release that shows it; None for all. ``parameter`` of KVM's modules turns it off; ``off`` is
    the value with which it does, empty for any that is no. ``bug``: Linux sets it on a CPU that it knows to be free of
    the bug. ``made``: KVM gives it whatever the CPU says.
    """

    since: tuple[int, int] | None = None
    parameter: str = ""
    off: str = ""
    bug: str = ""
    made: bool = False


_APICV, _EPT, _VPID = MsrBit(parameter="enable_apicv"), MsrBit(parameter="ept"), MsrBit(parameter="vpid")
_HIGH = 32
_PMU = MsrBit(parameter="enable_pmu")
_LBR, _PEBS = MsrBit((6, 1), "enable_pmu"), MsrBit((6, 0), "enable_pmu")
_CET = MsrBit((6, 18))

BITS: dict[tuple[int, int], MsrBit] = {
    (ARCH_CAPABILITIES, 0): MsrBit(bug="CPU_MELTDOWN"),
    (ARCH_CAPABILITIES, 3): MsrBit(parameter="vmentry_l1d_flush", off="never"),
    (ARCH_CAPABILITIES, 4): MsrBit(bug="SPEC_STORE_BYPASS"),
    (ARCH_CAPABILITIES, 5): MsrBit(bug="MDS"),
    (ARCH_CAPABILITIES, 6): MsrBit(made=True),
    (ARCH_CAPABILITIES, 8): MsrBit(bug="TAA"),
    (ARCH_CAPABILITIES, 26): MsrBit(bug="GDS"),
    (ARCH_CAPABILITIES, 27): MsrBit(bug="RFDS"),
    (ARCH_CAPABILITIES, 62): MsrBit(bug="ITS"),
    (PLATFORM_INFO, 31): MsrBit(made=True),
    (DE_CFG, 1): MsrBit(made=True),
    # The format of last branches, full-width writes, PEBS.
    **{(PERF_CAPABILITIES, bit): _LBR for bit in range(6)},
    **{(PERF_CAPABILITIES, bit): _PEBS for bit in (6, 7, 8, 9, 10, 11)},
    (PERF_CAPABILITIES, 13): _PMU,
    # Basic information: what a #DF with or without error code may be; the wait for a SIPI.
    (0x480, 56): MsrBit((6, 18)),
    (0x485, 8): MsrBit((6, 1)),
    # Controls that may be 1: posted interrupts; CET on exit and entry.
    **{(index, _HIGH + 7): _APICV for index in (0x481, 0x48D)},
    **{(index, _HIGH + 28): _CET for index in (0x483, 0x48F)},
    **{(index, _HIGH + 20): _CET for index in (0x484, 0x490)},
    (0x48B, _HIGH + 0): MsrBit(parameter="flexpriority"),
    (0x48B, _HIGH + 1): _EPT,
    (0x48B, _HIGH + 5): _VPID,
    (0x48B, _HIGH + 7): MsrBit(parameter="unrestricted_guest"),
    (0x48B, _HIGH + 14): MsrBit(made=True),
    (0x48B, _HIGH + 15): MsrBit((6, 1), "sgx"),
    (0x48B, _HIGH + 17): MsrBit(parameter="eptad"),
    (0x48B, _HIGH + 22): MsrBit((7, 2), "mbec"),
    (0x48B, _HIGH + 25): MsrBit((6, 1)),
    (0x48B, _HIGH + 26): MsrBit((6, 1)),
    # EPT and VPID: what EPT can do, then INVVPID.
    **{(0x48C, bit): _EPT for bit in (0, 6, 7, 14, 16, 17, 20, 25, 26)},
    (0x48C, 21): MsrBit(parameter="eptad"),
    (0x48C, 22): MsrBit((7, 2), "ept"),
    **{(0x48C, bit): _VPID for bit in (32, 40, 41, 42, 43)},
    (0x491, 0): _EPT,
}


def not_shown(index: int, release: tuple[int, ...]) -> int:
    """The bits of a feature MSR, ARCH_CAPABILITIES apart, that come after a release."""
    return sum(
        1 << bit
        for (at, bit), made in BITS.items()
        if at == index and made.since is not None and release[:2] < made.since
    )
