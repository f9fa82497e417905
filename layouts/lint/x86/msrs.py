"""X03xx: MSRs that the guest's CPUID makes live and the capture lacks, and values that no CPU holds."""

from __future__ import annotations

from typing import NamedTuple

from layouts.lint.rule import LintRule


class Live(NamedTuple):
    """MSRs, any of which is enough, that are state of a guest with one of these CPUID bits (none: of every guest)."""

    features: tuple[str, ...]
    msrs: tuple[str, ...]


_LIST = "Linux arch/x86/kvm/x86.c, msrs_to_save_base and emulated_msrs_all"
_REMEDY = "Put the MSR into the list that is saved: KVM_GET_MSR_INDEX_LIST names it where the host has it."


def _missing(code: str, severity: str, what: str, happens: str, source: str = _LIST) -> LintRule:
    return LintRule(
        code,
        severity,
        f"{what} was not captured",
        f"The guest's CPUID makes {what} live; the capture's MSR list does not have it.",
        happens,
        _REMEDY,
        source,
    )


#: What makes MSRs live, by the code of the rule that misses them.
LIVE = {
    "X0301": Live(("d.1.ecx.xss_cet_u", "d.1.ecx.xss_cet_s", "d.1.ecx.xss_pt", "d.1.ecx.xss_lbr"), ("IA32_XSS",)),
    "X0302": Live(("7.0.ecx.cet_ss", "7.0.edx.ibt"), ("IA32_U_CET", "IA32_S_CET")),
    "X0303": Live(("d.1.eax.xfd",), ("IA32_XFD",)),
    "X0304": Live(("d.1.eax.xfd",), ("IA32_XFD_ERR",)),
    "X0305": Live(("80000001.0.edx.rdtscp", "7.0.ecx.rdpid"), ("IA32_TSC_AUX",)),
    "X0306": Live(("1.0.edx.mtrr",), ("IA32_MTRR_DEF_TYPE",)),
    "X0307": Live(("1.0.edx.pat",), ("IA32_PAT",)),
    "X0308": Live(
        ("7.0.edx.spec_ctrl", "7.0.edx.intel_stibp", "7.0.edx.spec_ctrl_ssbd", "80000008.0.ebx.amd_ibrs"),
        ("IA32_SPEC_CTRL",),
    ),
    "X0309": Live(("1.0.ecx.tsc_deadline_timer",), ("IA32_TSC_DEADLINE",)),
    "X0310": Live((), ("IA32_TIME_STAMP_COUNTER",)),
    "X0311": Live(("7.0.ebx.tsc_adjust",), ("IA32_TSC_ADJUST",)),
    "X0312": Live((), ("IA32_SYSENTER_EIP",)),
    "X0313": Live(("80000001.0.edx.lm",), ("IA32_LSTAR",)),
    "X0314": Live(("80000001.0.edx.lm",), ("IA32_KERNEL_GS_BASE",)),
    "X0315": Live(
        ("40000001.0.eax.kvm_clocksource2", "40000001.0.eax.kvm_clocksource"),
        ("MSR_KVM_SYSTEM_TIME_NEW", "MSR_KVM_SYSTEM_TIME"),
    ),
    "X0316": Live(("40000001.0.eax.kvm_async_pf",), ("MSR_KVM_ASYNC_PF_EN",)),
    "X0317": Live(("40000001.0.eax.kvm_steal_time",), ("MSR_KVM_STEAL_TIME",)),
    "X0318": Live(("40000001.0.eax.kvm_pv_eoi",), ("MSR_KVM_PV_EOI_EN",)),
    "X0319": Live(("7.0.ecx.waitpkg",), ("IA32_UMWAIT_CONTROL",)),
    "X0320": Live(("1.0.ecx.vmx",), ("IA32_VMX_BASIC",)),
    "X0321": Live(("7.0.edx.arch_capabilities",), ("IA32_ARCH_CAPABILITIES",)),
    "X0322": Live(("1.0.edx.mca", "1.0.edx.mce"), ("IA32_MCG_STATUS",)),
    "X0323": Live(("7.1.eax.fred",), ("IA32_FRED_CONFIG",)),
    "X0324": Live(("80000001.0.ecx.svm",), ("MSR_VM_HSAVE_PA",)),
    "X0325": Live(("80000008.0.ebx.virt_ssbd",), ("MSR_AMD64_VIRT_SPEC_CTRL",)),
}

_SET = "KVM_SET_MSRS stops at it and returns how many it took: what follows in the list is not restored."

RULES = (
    _missing(
        "X0301",
        "error",
        "IA32_XSS",
        "IA32_XSS starts at 0. The guest's kernel keeps supervisor states in images that XSAVES compacts: its "
        "next XRSTORS "
        "raises #GP (Linux: Bad FPU state detected at restore_fpregs_from_fpstate) and processes die.",
        "Linux arch/x86/kvm/x86.c, MSR_IA32_XSS; arch/x86/mm/extable.c, ex_handler_fprestore",
    ),
    _missing(
        "X0302",
        "error",
        "IA32_U_CET or IA32_S_CET",
        "CET starts switched off and shadow stack pointers at 0: the next RET of a process with shadow stacks "
        "raises #CP.",
    ),
    _missing(
        "X0303",
        "warning",
        "IA32_XFD",
        "IA32_XFD starts at 0. The guest's kernel believes that tiles trap, so a process uses them in a buffer "
        "without room.",
        "Linux arch/x86/kernel/fpu/xstate.h, xfd_update_state; arch/x86/kvm/x86.c, MSR_IA32_XFD",
    ),
    _missing(
        "X0304",
        "warning",
        "IA32_XFD_ERR",
        "A #NM on its way finds 0, is taken for a spurious one, and the instruction faults again.",
        "Linux arch/x86/kernel/traps.c, handle_xfd_event",
    ),
    _missing(
        "X0305",
        "warning",
        "IA32_TSC_AUX",
        "IA32_TSC_AUX starts at 0: RDTSCP and RDPID say CPU 0, node 0 on every vCPU until the guest's kernel "
        "writes it, "
        "which it does only when a CPU comes up (getcpu in the vDSO).",
    ),
    _missing(
        "X0306",
        "warning",
        "IA32_MTRR_DEF_TYPE",
        "MTRRs start disabled: all memory is uncached for a guest that trusts them, and Linux warns that they "
        "differ over "
        "CPUs. KVM_GET_MSR_INDEX_LIST does not name them: a VMM adds them itself.",
        "Linux arch/x86/kvm/mtrr.c, kvm_mtrr_set_msr; arch/x86/kernel/cpu/mtrr",
    ),
    _missing(
        "X0307",
        "error",
        "IA32_PAT",
        "IA32_PAT starts at its reset value, and Linux uses another: write-combining and write-through mappings become "
        "cached or uncached.",
    ),
    _missing(
        "X0308",
        "warning",
        "IA32_SPEC_CTRL",
        "Mitigations that the guest has switched on (IBRS, STIBP, SSBD) are off until it writes the MSR again.",
    ),
    _missing(
        "X0309",
        "error",
        "IA32_TSC_DEADLINE",
        "The APIC timer is not armed. An idle guest without ticks waits for it for ever.",
        "Linux arch/x86/kvm/lapic.c, kvm_set_lapic_tscdeadline_msr",
    ),
    _missing(
        "X0310",
        "error",
        "IA32_TIME_STAMP_COUNTER",
        "The TSC starts near 0: time jumps back for the guest, and vCPUs differ.",
        "Linux arch/x86/kvm/x86.c, kvm_synchronize_tsc",
    ),
    _missing(
        "X0311",
        "warning",
        "IA32_TSC_ADJUST",
        "IA32_TSC_ADJUST starts at 0; Linux compares it over CPUs, warns, and may drop the TSC as clock.",
        "Linux arch/x86/kernel/tsc_sync.c, tsc_verify_tsc_adjust",
    ),
    _missing("X0312", "error", "IA32_SYSENTER_EIP", "The next SYSENTER of the guest jumps to 0."),
    _missing("X0313", "error", "IA32_LSTAR", "The next SYSCALL of the guest jumps to 0: a double fault, then a reset."),
    _missing(
        "X0314",
        "error",
        "IA32_KERNEL_GS_BASE",
        "The next SWAPGS gives the guest's kernel a GS base of 0: its per-CPU data are gone.",
    ),
    _missing(
        "X0315",
        "warning",
        "MSR_KVM_SYSTEM_TIME_NEW",
        "kvm-clock's page is no longer updated: the guest's clock stands, or runs on with stale factors.",
        "Linux arch/x86/kvm/x86.c, kvm_write_system_time",
    ),
    _missing(
        "X0316",
        "warning",
        "MSR_KVM_ASYNC_PF_EN",
        "Async page faults stay off; a fault that was told and not yet answered leaves its task waiting.",
        "Linux arch/x86/kvm/x86.c, kvm_pv_enable_async_pf",
    ),
    _missing("X0317", "note", "MSR_KVM_STEAL_TIME", "The guest's steal time stands still."),
    _missing(
        "X0318",
        "warning",
        "MSR_KVM_PV_EOI_EN",
        "An end of interrupt that the guest has left in memory is never seen: the vector stays in service.",
        "Linux arch/x86/kvm/lapic.c, kvm_lapic_set_pv_eoi",
    ),
    _missing("X0319", "note", "IA32_UMWAIT_CONTROL", "UMWAIT and TPAUSE have no limit until the guest writes the MSR."),
    _missing(
        "X0320",
        "warning",
        "IA32_VMX_BASIC",
        "VMX capabilities are the destination's: a nested hypervisor that has read them uses controls that are "
        "not there.",
        "Linux arch/x86/kvm/vmx/nested.c, vmx_set_vmx_msr",
    ),
    _missing(
        "X0321",
        "warning",
        "IA32_ARCH_CAPABILITIES",
        "The value is the destination's: mitigations that the guest left out because of it may be needed.",
        "Linux arch/x86/kvm/x86.c, kvm_get_arch_capabilities",
    ),
    _missing("X0322", "note", "IA32_MCG_STATUS", "A machine check in progress is forgotten."),
    _missing(
        "X0323",
        "error",
        "IA32_FRED_CONFIG",
        "FRED's entry points are 0: the next event in the guest is delivered to nowhere.",
        "Intel FRED specification, 346446; Linux Documentation/arch/x86/x86_64/fred.rst",
    ),
    _missing(
        "X0324",
        "warning",
        "MSR_VM_HSAVE_PA",
        "A nested hypervisor's VMRUN finds 0, which KVM takes; on hardware it raises #GP.",
        "Linux arch/x86/kvm/svm/svm.c, MSR_VM_HSAVE_PA",
    ),
    _missing("X0325", "note", "MSR_AMD64_VIRT_SPEC_CTRL", "SSBD is off until the guest writes the MSR again."),
    LintRule(
        "X0340",
        "error",
        "IA32_PAT has a memory type that does not exist",
        "Each byte is 0 (UC), 1 (WC), 4 (WT), 5 (WP), 6 (WB) or 7 (UC-).",
        _SET + " On VM entry it is refused as well.",
        "Write a valid type.",
        "Linux arch/x86/kvm/x86.h, kvm_pat_valid",
    ),
    LintRule(
        "X0341",
        "error",
        "an MTRR has a memory type that does not exist",
        "Types are 0, 1, 4, 5 and 6; IA32_MTRR_DEF_TYPE has bits 11 and 10 beside the type.",
        _SET,
        "Write a valid type.",
        "Linux arch/x86/kvm/mtrr.c, kvm_mtrr_valid",
    ),
    LintRule(
        "X0342",
        "error",
        "a variable MTRR is beyond the guest's physical addresses",
        "Bits from MAXPHYADDR up are reserved in IA32_MTRR_PHYSBASE and PHYSMASK.",
        _SET,
        "Restore CPUID leaf 0x80000008 as the guest had it.",
        "Linux arch/x86/kvm/mtrr.c, kvm_mtrr_valid",
    ),
    LintRule(
        "X0343",
        "error",
        "IA32_XSS has bits that the guest's CPUID does not offer",
        "CPUID leaf 0xD, sub-leaf 1, EDX:ECX says which bits of IA32_XSS the guest may set, if it has XSAVES.",
        _SET,
        "Restore the CPUID that the guest ran with, before the MSRs.",
        "Linux arch/x86/kvm/x86.c, MSR_IA32_XSS",
    ),
    LintRule(
        "X0344",
        "error",
        "IA32_XFD has bits that the guest cannot disable",
        "Only components that CPUID leaf 0xD marks as XFD-faulting and that XCR0 may have (TILEDATA).",
        _SET,
        "Clear the bits, or restore the CPUID that the guest ran with.",
        "Linux arch/x86/kvm/x86.c, MSR_IA32_XFD, kvm_guest_supported_xfd",
    ),
    LintRule(
        "X0345",
        "error",
        "IA32_XFD_ERR has bits that the guest cannot disable",
        "It says which component caused #NM: only one that IA32_XFD can disable.",
        _SET,
        "Clear the bits, or restore the CPUID that the guest ran with.",
        "Linux arch/x86/kvm/x86.c, MSR_IA32_XFD_ERR",
    ),
    LintRule(
        "X0346",
        "error",
        "an MSR that holds an address is not canonical",
        "LSTAR, CSTAR, and the bases of FS, GS and KERNEL_GS hold linear addresses.",
        _SET,
        "Restore the value; a 57-bit address needs LA57 in CPUID.",
        "Linux arch/x86/kvm/x86.c, __kvm_set_msr",
    ),
    LintRule(
        "X0347",
        "error",
        "a CET MSR holds a value that no CPU does",
        "U_CET and S_CET: bits 9:6 are 0, SUPPRESS and TRACKER are not both 1; shadow stack pointers are "
        "multiples of 4.",
        _SET,
        "Restore the value.",
        "Linux arch/x86/kvm/x86.h, kvm_is_valid_u_s_cet; arch/x86/kvm/x86.c, __kvm_set_msr",
    ),
    LintRule(
        "X0348",
        "warning",
        "IA32_SPEC_CTRL has bits that nobody has defined",
        "Bits 0 to 8 and 10 are known.",
        "KVM tries the value on the host's CPU, which raises #GP: KVM_SET_MSRS stops at it.",
        "Clear the bits.",
        "Linux arch/x86/kvm/x86.c, kvm_spec_ctrl_test_value",
    ),
    LintRule(
        "X0349",
        "warning",
        "an MSR is in the list twice with different values",
        "struct kvm_msrs has two entries of one number.",
        "KVM_SET_MSRS goes through the list in order: the last value stays.",
        "Leave one.",
        "Linux arch/x86/kvm/x86.c, __msr_io",
    ),
    LintRule(
        "X0350",
        "error",
        "nmsrs is more than the entries that are there",
        "The count of struct kvm_msrs goes beyond its bytes.",
        "KVM_SET_MSRS reads beyond the buffer: EFAULT, or foreign bytes become MSRs.",
        "Write the number of entries.",
        "Linux arch/x86/kvm/x86.c, msr_io",
    ),
    LintRule(
        "X0351",
        "warning",
        "MSRs of a PMU that the guest's CPUID does not have",
        "The list has performance counters, and CPUID leaf 0xA and AMD's PerfMonV2 and PerfCtrExtCore are absent.",
        "Linux 6.12 and later refuse values other than 0 of a PMU that is not there; where the host has none, "
        "every one: "
        "KVM_SET_MSRS stops there.",
        "Leave them out.",
        "Linux arch/x86/kvm/pmu.c, kvm_pmu_is_valid_msr; arch/x86/kvm/x86.c, kvm_set_msr_common",
    ),
    LintRule(
        "X0352",
        "warning",
        "a KVM paravirtual MSR is on, and CPUID does not offer it",
        "The guest has registered a page, and its CPUID does not have the feature of KVM's leaf 0x40000001.",
        "With KVM_CAP_ENFORCE_PV_FEATURE_CPUID KVM_SET_MSRS stops at it; without, the page is written while the guest "
        "believes that nobody does.",
        "Restore the CPUID that the guest ran with.",
        "Linux arch/x86/kvm/x86.c, guest_pv_has",
    ),
    LintRule(
        "X0353",
        "warning",
        "a Hyper-V MSR is in use, and CPUID has no Hyper-V",
        "HV_X64_MSR_GUEST_OS_ID or the hypercall page is set; leaf 0x40000001 has no Hv#1.",
        "KVM refuses Hyper-V MSRs other than 0 without Hyper-V in CPUID: KVM_SET_MSRS stops at it.",
        "Restore the CPUID that the guest ran with.",
        "Linux arch/x86/kvm/hyperv.c, kvm_hv_set_msr_common",
    ),
    LintRule(
        "X0354",
        "warning",
        "CR4.VMXE is set and IA32_FEATURE_CONTROL does not allow VMX",
        "VMXON needs IA32_FEATURE_CONTROL locked with VMX on; this guest has VMX enabled in CR4.",
        "VMXON raises #GP in the guest; a nested hypervisor that runs goes on.",
        "Restore IA32_FEATURE_CONTROL.",
        "Linux arch/x86/kvm/vmx/nested.c, handle_vmxon",
    ),
    LintRule(
        "X0355",
        "error",
        "MSR_KVM_ASYNC_PF_INT is in the list of a vCPU without local APIC",
        "KVM names it, and reads 0, for every vCPU.",
        "Without an in-kernel APIC it cannot be written, not even with 0: KVM_SET_MSRS stops at a list that KVM gave.",
        "Leave it out where the VM has no in-kernel irqchip.",
        "Linux arch/x86/kvm/x86.c, MSR_KVM_ASYNC_PF_INT",
    ),
    LintRule(
        "X0356",
        "warning",
        "IA32_TSC_AUX has more than 32 bits",
        "The upper half is reserved on Intel; AMD drops it.",
        "KVM_SET_MSRS stops at it for a guest with Intel's CPUID.",
        "Clear the upper half.",
        "Linux arch/x86/kvm/x86.c, __kvm_set_msr, MSR_TSC_AUX",
    ),
    LintRule(
        "X0357",
        "note",
        "a write-only MSR is in the list",
        "IA32_PRED_CMD and IA32_FLUSH_CMD are commands: they hold nothing.",
        "KVM_GET_MSRS stops at them, and a value other than 0 is carried out at KVM_SET_MSRS.",
        "Leave them out.",
        "Linux arch/x86/kvm/x86.c, kvm_get_msr_common; kvm_set_msr_common",
    ),
)
