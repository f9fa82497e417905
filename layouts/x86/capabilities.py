"""What KVM_CHECK_EXTENSION answers on x86: each KVM_CAP_*, since when, and its value or the rule that it follows.

Source: Linux 5.10 to 7.3, arch/x86/kvm/x86.c (kvm_vm_ioctl_check_extension), virt/kvm/kvm_main.c
(kvm_vm_ioctl_check_extension_generic), numbers of include/uapi/linux/kvm.h, with the options of Debian's kernels:
HYPERV, SMM, SGX, IOAPIC, from 6.12 on XEN and KVM_MAX_NR_VCPUS=4096. ``since`` is the release of the commit, or the
first of the releases that ``layouts/x86/kernels.py`` names whose source has it.
"""

from __future__ import annotations

from layouts.light import NamedTuple

_OLD = (5, 10)


class Capability(NamedTuple):
    """One KVM_CAP_*: ``value`` where it is the same on every host, else ``rule`` names what it follows."""

    number: int
    name: str
    since: tuple[int, int] = _OLD
    value: int = 1
    rule: str = ""


CAPABILITIES = (
    Capability(0, "IRQCHIP"),
    Capability(1, "HLT"),
    Capability(2, "MMU_SHADOW_CACHE_CONTROL"),
    Capability(3, "USER_MEMORY"),
    Capability(4, "SET_TSS_ADDR"),
    Capability(6, "VAPIC", rule="TPR"),
    Capability(7, "EXT_CPUID"),
    Capability(8, "CLOCKSOURCE"),
    Capability(9, "NR_VCPUS", rule="cpus"),
    Capability(10, "NR_MEMSLOTS", rule="by release"),
    Capability(11, "PIT"),
    Capability(12, "NOP_IO_DELAY"),
    Capability(14, "MP_STATE"),
    Capability(15, "COALESCED_MMIO", value=2),
    Capability(16, "SYNC_MMU"),
    Capability(21, "DESTROY_MEMORY_REGION_WORKS"),
    Capability(22, "USER_NMI"),
    Capability(23, "SET_GUEST_DEBUG"),
    Capability(24, "REINJECT_CONTROL"),
    Capability(25, "IRQ_ROUTING", value=4096),
    Capability(26, "IRQ_INJECT_STATUS"),
    Capability(30, "JOIN_MEMORY_REGIONS_WORKS"),
    Capability(31, "MCE", value=32),
    Capability(32, "IRQFD"),
    Capability(33, "PIT2"),
    Capability(34, "SET_BOOT_CPU_ID"),
    Capability(35, "PIT_STATE2"),
    Capability(36, "IOEVENTFD"),
    Capability(37, "SET_IDENTITY_MAP_ADDR"),
    Capability(38, "XEN_HVM", rule="by release"),
    Capability(39, "ADJUST_CLOCK", rule="by release"),
    Capability(40, "INTERNAL_ERROR_DATA"),
    Capability(41, "VCPU_EVENTS"),
    Capability(44, "HYPERV"),
    Capability(45, "HYPERV_VAPIC"),
    Capability(46, "HYPERV_SPIN"),
    Capability(47, "PCI_SEGMENT"),
    Capability(50, "DEBUGREGS"),
    Capability(51, "X86_ROBUST_SINGLESTEP"),
    Capability(54, "ENABLE_CAP", (5, 17)),
    Capability(55, "XSAVE"),
    Capability(56, "XCRS", rule="XSAVE"),
    Capability(59, "ASYNC_PF"),
    Capability(60, "TSC_CONTROL", rule="TSC scaling"),
    Capability(61, "GET_TSC_KHZ"),
    Capability(66, "MAX_VCPUS", rule="by release"),
    Capability(70, "ONE_REG", (6, 18)),
    Capability(72, "TSC_DEADLINE_TIMER"),
    Capability(74, "SYNC_REGS", value=7),
    Capability(76, "KVMCLOCK_CTRL"),
    Capability(77, "SIGNAL_MSI"),
    Capability(81, "READONLY_MEM"),
    Capability(82, "IRQFD_RESAMPLE"),
    Capability(89, "DEVICE_CTRL", (6, 12)),
    Capability(95, "EXT_EMUL_CPUID"),
    Capability(96, "HYPERV_TIME"),
    Capability(97, "IOAPIC_POLARITY_IGNORED"),
    Capability(98, "ENABLE_CAP_VM"),
    Capability(100, "IOEVENTFD_NO_LENGTH"),
    Capability(105, "CHECK_EXTENSION_VM"),
    Capability(116, "DISABLE_QUIRKS"),
    Capability(117, "X86_SMM", rule="SMM"),
    Capability(118, "MULTI_ADDRESS_SPACE", value=2),
    Capability(121, "SPLIT_IRQCHIP"),
    Capability(122, "IOEVENTFD_ANY_LENGTH"),
    Capability(123, "HYPERV_SYNIC"),
    Capability(127, "VCPU_ATTRIBUTES", (5, 16)),
    Capability(128, "MAX_VCPU_ID", rule="by release"),
    Capability(129, "X2APIC_API", rule="x2APIC"),
    Capability(136, "IMMEDIATE_EXIT"),
    Capability(143, "X86_DISABLE_EXITS", rule="exits"),
    Capability(148, "HYPERV_SYNIC2"),
    Capability(149, "HYPERV_VP_INDEX"),
    Capability(153, "GET_MSR_FEATURES"),
    Capability(154, "HYPERV_EVENTFD"),
    Capability(155, "HYPERV_TLBFLUSH"),
    Capability(157, "NESTED_STATE", rule="nesting"),
    Capability(159, "MSR_PLATFORM_INFO"),
    Capability(161, "HYPERV_SEND_IPI"),
    Capability(162, "COALESCED_PIO"),
    Capability(163, "HYPERV_ENLIGHTENED_VMCS", rule="Hyper-V's VMCS"),
    Capability(164, "EXCEPTION_PAYLOAD"),
    Capability(167, "HYPERV_CPUID"),
    Capability(168, "MANUAL_DIRTY_LOG_PROTECT2", value=3),
    Capability(173, "PMU_EVENT_FILTER"),
    Capability(182, "HALT_POLL"),
    Capability(183, "ASYNC_PF_INT"),
    Capability(184, "LAST_CPU"),
    Capability(185, "SMALLER_MAXPHYADDR", rule="smaller MAXPHYADDR"),
    Capability(187, "STEAL_TIME"),
    Capability(188, "X86_USER_SPACE_MSR"),
    Capability(189, "X86_MSR_FILTER"),
    Capability(190, "ENFORCE_PV_FEATURE_CPUID"),
    Capability(191, "SYS_HYPERV_CPUID", (5, 11)),
    Capability(192, "DIRTY_LOG_RING", (5, 11), 1 << 20),
    Capability(193, "X86_BUS_LOCK_EXIT", (5, 11), rule="bus locks"),
    Capability(195, "SET_GUEST_DEBUG2", (5, 13), 0x1F0003),
    Capability(196, "SGX_ATTRIBUTE", (5, 13)),
    Capability(197, "VM_COPY_ENC_CONTEXT_FROM", (5, 13)),
    Capability(199, "HYPERV_ENFORCE_CPUID", (5, 14)),
    Capability(200, "SREGS2", (5, 14)),
    Capability(201, "EXIT_HYPERCALL", (5, 14), 1 << 12),
    Capability(203, "BINARY_STATS_FD", (5, 14)),
    Capability(204, "EXIT_ON_EMULATION_FAILURE", (5, 14)),
    Capability(206, "VM_MOVE_ENC_CONTEXT_FROM", (5, 16)),
    Capability(208, "XSAVE2", (5, 17), rule="XSAVE size"),
    Capability(209, "SYS_ATTRIBUTES", (5, 17)),
    Capability(212, "PMU_CAPABILITY", (5, 18), rule="PMU"),
    Capability(213, "DISABLE_QUIRKS2", (5, 18), rule="quirks"),
    Capability(214, "VM_TSC_CONTROL", (5, 18), rule="TSC scaling"),
    Capability(215, "SYSTEM_EVENT_DATA", (5, 19)),
    Capability(218, "X86_TRIPLE_FAULT_EVENT", (6, 0)),
    Capability(219, "X86_NOTIFY_VMEXIT", (6, 0), rule="notify VM exits"),
    Capability(220, "VM_DISABLE_NX_HUGE_PAGES", (6, 0)),
    Capability(223, "DIRTY_LOG_RING_ACQ_REL", (6, 1), 1 << 20),
    Capability(226, "PMU_EVENT_MASKED_EVENTS", (6, 3)),
    Capability(231, "USER_MEMORY2", (6, 8)),
    Capability(232, "MEMORY_FAULT_INFO", (6, 8)),
    Capability(233, "MEMORY_ATTRIBUTES", (6, 8), rule="private memory attributes"),
    Capability(234, "GUEST_MEMFD", (6, 8), rule="guest_memfd"),
    Capability(235, "VM_TYPES", (6, 8), rule="VM types"),
    Capability(236, "PRE_FAULT_MEMORY", (6, 11), rule="two-dimensional paging"),
    Capability(237, "X86_APIC_BUS_CYCLES_NS", (6, 11), rule="APIC bus"),
    Capability(238, "X86_GUEST_MODE", (6, 11)),
    Capability(244, "GUEST_MEMFD_FLAGS", (6, 18), 3),
)
#: KVM_CAP_* by number: what KVM_ENABLE_CAP turns on and no KVM_CHECK_EXTENSION tells, too.
NUMBERS = {one.number: one.name for one in CAPABILITIES} | {175: "HYPERV_DIRECT_TLBFLUSH"}
#: What changed by release: capability -> (since, value), oldest first.
BY_RELEASE: dict[str, tuple[tuple[tuple[int, int], int], ...]] = {
    # KVM_USER_MEM_SLOTS.
    "NR_MEMSLOTS": (((5, 10), 509), ((5, 12), 32764)),
    # CONFIG_KVM_XEN came to Debian between 6.1 and 6.12: hypercall MSR and interception, shared info, run states, event
    # channels, the update flag, an unstable TSC and shared info by host address. Before it, the MSR alone.
    "XEN_HVM": (((5, 10), 1), ((5, 12), 0), ((6, 12), 0x1FF)),
    # KVM_CLOCK_TSC_STABLE; from 5.16 on REALTIME and HOST_TSC too.
    "ADJUST_CLOCK": (((5, 10), 2), ((5, 16), 0xE)),
    "MAX_VCPUS": (((5, 10), 288), ((5, 15), 1024), ((6, 12), 4096)),
    "MAX_VCPU_ID": (((5, 10), 1023), ((5, 15), 4096), ((6, 12), 16384)),
}
#: What hangs on how the kernel was built: since when, and in words; the values here are those of Debian's kernels.
BUILT: dict[str, tuple[tuple[int, int], str]] = {
    "XEN_HVM": ((5, 12), "CONFIG_KVM_XEN: 0 without it; with it 0x3f in 6.1, 0x7f in 6.6, 0x1ff from 6.12 on"),
    "MAX_VCPUS": ((6, 7), "CONFIG_KVM_MAX_NR_VCPUS: 1024 if nobody chose, at most 4096"),
    "MAX_VCPU_ID": ((6, 7), "CONFIG_KVM_MAX_NR_VCPUS: four times as many"),
}
#: KVM_X86_VALID_QUIRKS by release: 7 of them, SLOT_ZAP_ALL (6.12), STUFF_FEATURE_MSRS (6.14), IGNORE_GUEST_PAT (6.16),
#: VMCS12_ALLOW_FREEZE_IN_SMM (6.19), NESTED_SVM_SHARED_PAT (7.2); 6.12's stable updates took four.
QUIRKS = (((5, 18), 0x7F), ((6, 12), 0x7FF), ((6, 16), 0x3FF), ((6, 19), 0x7FF), ((7, 2), 0xFFF))
QUIRK_IGNORE_GUEST_PAT = 1 << 9
