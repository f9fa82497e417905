"""X06xx: TSC, timers and what has to be the same on every vCPU."""

from __future__ import annotations

from layouts.lint.rule import LintRule

#: How far the TSC of two vCPUs may be apart for KVM to take them as one: a second (Linux kvm_synchronize_tsc).
SYNCHRONIZED_SECONDS = 1
#: Without a known frequency: no CPU has ticked faster.
FASTEST_TSC_KHZ = 6_000_000
#: By how much TSC frequencies may differ (Linux kvm.tsc_tolerance_ppm).
TOLERANCE_PPM = 250

_SYNC = "Linux arch/x86/kvm/x86.c, kvm_synchronize_tsc"

RULES = (
    LintRule(
        "X0601",
        "warning",
        "IA32_TSC_ADJUST differs over vCPUs",
        "Each CPU's TSC is moved by its IA32_TSC_ADJUST.",
        "Linux guests find the TSC out of step (Firmware bug: TSC ADJUST differs), write it anew, or drop the "
        "TSC as clock.",
        "Restore the same value on every vCPU.",
        "Linux arch/x86/kernel/tsc_sync.c, tsc_store_and_check_tsc_adjust",
    ),
    LintRule(
        "X0602",
        "warning",
        "the TSC of two vCPUs is more than a second apart",
        "TSCs of one machine, read at one time, are nearly the same.",
        "KVM takes writes within a second of each other as one clock; others it does not synchronize: time goes "
        "back for a "
        "guest's thread that moves from one CPU to the other.",
        "Save TSCs of all vCPUs while they are stopped, and restore KVM_VCPU_TSC_OFFSET.",
        _SYNC + "; Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_CTRL",
    ),
    LintRule(
        "X0603",
        "error",
        "vCPUs have different TSC frequencies",
        "One machine has one TSC frequency.",
        "KVM turns its master clock off, kvm-clock runs apart on the vCPUs; the guest's TSC clock is wrong on "
        "one of them.",
        "Give KVM_SET_TSC_KHZ the same value for each vCPU.",
        "Linux arch/x86/kvm/x86.c, kvm_set_tsc_khz, kvm_track_tsc_matching",
    ),
    LintRule(
        "X0604",
        "warning",
        "the TSC frequency and what CPUID says of it differ",
        "Leaf 0x15 (crystal and ratio) and leaf 0x40000010 tell the guest the frequency in which it counts.",
        "A guest that takes it from CPUID counts seconds wrongly: clocks drift by this much.",
        "Write the frequency into CPUID, or KVM_SET_TSC_KHZ.",
        "Linux arch/x86/kernel/tsc.c, native_calibrate_tsc; arch/x86/kernel/cpu/vmware.c",
    ),
    LintRule(
        "X0605",
        "error",
        "two vCPUs have one kvm-clock page",
        "MSR_KVM_SYSTEM_TIME_NEW is the address of a structure of one vCPU.",
        "KVM writes both clocks into one structure, each in the middle of the other: the guest loops on its version or "
        "reads times of another CPU.",
        "Restore each vCPU's own value.",
        "Linux arch/x86/kvm/x86.c, kvm_setup_guest_pvclock",
    ),
    LintRule(
        "X0606",
        "warning",
        "MTRRs or PAT differ over vCPUs",
        "Memory types have to be the same on every CPU.",
        "Linux guests warn (your CPUs had inconsistent MTRR settings); caching of a page depends on the CPU.",
        "Restore the same values on every vCPU.",
        "Intel SDM vol. 3, 12.11.8; Linux arch/x86/kernel/cpu/mtrr",
    ),
    LintRule(
        "X0607",
        "note",
        "the TSC frequency was not captured",
        "The TSC of the guest goes on with the frequency of the host that restores it.",
        "On a host of another frequency the guest's clocks run wrong, if KVM_SET_TSC_KHZ is not called; without "
        "TSC scaling it "
        "fails beyond 250 ppm.",
        "Save KVM_GET_TSC_KHZ.",
        "Linux arch/x86/kvm/x86.c, kvm_set_tsc_khz; Documentation/virt/kvm/api.rst, KVM_SET_TSC_KHZ",
    ),
)
