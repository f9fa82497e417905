"""Who calls the functions that the machine's lines name: from the function up to the way into the kernel.

Source: Linux 6.1.192 and 7.2.13, arch/x86; functions that the compiler folds into their callers stand here as they
are written. The proposal of 2021 for KVM names no functions: its steps have no chain.
"""

from __future__ import annotations

_IOCTL = ("kvm_arch_vcpu_ioctl", "kvm_vcpu_ioctl", "__x64_sys_ioctl")
_RUN = ("vcpu_enter_guest", "vcpu_run", "kvm_arch_vcpu_ioctl_run", "kvm_vcpu_ioctl", "__x64_sys_ioctl")
_EXIT = ("vmx_handle_exit", *_RUN)
_SET_CPUID = ("kvm_set_cpuid", "kvm_vcpu_ioctl_set_cpuid2", *_IOCTL)
_SWITCH = ("switch_fpu", "__switch_to", "context_switch", "schedule")

#: arch_prctl(ARCH_REQ_XCOMP_PERM) and its kind for guests.
PERMISSION = ("xstate_request_perm", "fpu_xstate_prctl", "do_arch_prctl_64", "__x64_sys_arch_prctl")
#: The guest's buffer grows in KVM_SET_CPUID2.
GUEST_BUFFER = (
    "fpstate_realloc",
    "__xfd_enable_feature",
    "fpu_enable_guest_xfd_features",
    "kvm_check_cpuid",
    *_SET_CPUID,
)
#: A task's buffer grows at its first use of a component.
TASK_BUFFER = (
    "fpstate_realloc",
    "__xfd_enable_feature",
    "xfd_enable_feature",
    "handle_xfd_event",
    "exc_device_not_available",
    "asm_exc_device_not_available",
)
#: XFD_ERR is read in the #NM handler.
XFD_EVENT = TASK_BUFFER[3:]
#: A CPU comes up: XFD first, then XCR0.
BOOT = ("fpu__init_cpu_xstate", "fpu__init_cpu", "arch_cpu_finalize_init", "start_kernel")
#: The intercept of XFD_ERR follows CPUID: in the ioctl up to 6.17, from 6.18 on at the next entry.
INTERCEPTS_IN_IOCTL = ("vmx_vcpu_after_set_cpuid", "kvm_vcpu_after_set_cpuid", *_SET_CPUID)
INTERCEPTS_AT_ENTRY = ("vmx_recalc_msr_intercepts", "vmx_recalc_intercepts", *_RUN)
#: An MSR by KVM_SET_MSRS, and by the guest's WRMSR that exits.
MSR_BY_IOCTL = ("kvm_set_msr_common", "vmx_set_msr", "__kvm_set_msr", "do_set_msr", "__msr_io", *_IOCTL)
MSR_BY_EXIT = ("kvm_set_msr_common", "vmx_set_msr", "__kvm_set_msr", "kvm_emulate_wrmsr", *_EXIT)
#: #NM of a guest: XFD_ERR is read with interrupts off, then the exit is handled.
NM_IRQS_OFF = ("vmx_handle_nm_fault_irqoff", "vmx_handle_exit_irqoff", *_RUN)
NM_EXIT = ("handle_exception_nmi", *_EXIT)
AFTER_EXIT = _RUN
#: Registers are saved: at a context switch, and when KVM_RUN ends.
SAVE = ("save_fpregs_to_fpstate", *_SWITCH)
