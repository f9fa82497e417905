"""What KVM_CHECK_EXTENSION answers on arm64: each KVM_CAP_* that is not 0, since when, and its value or whose it is.

Source: Linux 5.10 to 7.3, arch/arm64/kvm/arm.c (kvm_vm_ioctl_check_extension), 5.10's reset.c
(kvm_arch_vm_ioctl_check_extension_ext), virt/kvm/kvm_main.c (kvm_vm_ioctl_check_extension_generic), with the options
of arch/arm64/kvm/Kconfig and host pages of 4 KiB; numbers of include/uapi/linux/kvm.h.
"""

from __future__ import annotations

from layouts.light import NamedTuple


class Capability(NamedTuple):
    """One KVM_CAP_*: ``value`` where it is the same on every host, else ``rule`` names what it follows."""

    number: int
    name: str
    since: tuple[int, int] = (5, 10)
    value: int = 1
    rule: str = ""


CAPABILITIES = (
    Capability(0, "IRQCHIP"),
    Capability(3, "USER_MEMORY"),
    Capability(9, "NR_VCPUS", rule="cpus"),
    Capability(10, "NR_MEMSLOTS", rule="memory slots"),
    Capability(14, "MP_STATE"),
    Capability(15, "COALESCED_MMIO"),
    Capability(16, "SYNC_MMU"),
    Capability(21, "DESTROY_MEMORY_REGION_WORKS"),
    Capability(23, "SET_GUEST_DEBUG"),
    Capability(25, "IRQ_ROUTING", value=4096),
    Capability(30, "JOIN_MEMORY_REGIONS_WORKS"),
    Capability(32, "IRQFD"),
    Capability(36, "IOEVENTFD"),
    Capability(40, "INTERNAL_ERROR_DATA"),
    Capability(41, "VCPU_EVENTS"),
    Capability(66, "MAX_VCPUS", rule="vcpus"),
    Capability(70, "ONE_REG"),
    Capability(77, "SIGNAL_MSI"),
    Capability(81, "READONLY_MEM"),
    Capability(82, "IRQFD_RESAMPLE"),
    Capability(87, "ARM_PSCI"),
    Capability(88, "ARM_SET_DEVICE_ADDR"),
    Capability(89, "DEVICE_CTRL"),
    Capability(93, "ARM_EL1_32BIT", rule="32-bit EL1"),
    Capability(98, "ENABLE_CAP_VM"),
    Capability(102, "ARM_PSCI_0_2"),
    Capability(105, "CHECK_EXTENSION_VM"),
    Capability(119, "GUEST_DEBUG_HW_BPS", rule="breakpoints"),
    Capability(120, "GUEST_DEBUG_HW_WPS", rule="watchpoints"),
    Capability(122, "IOEVENTFD_ANY_LENGTH"),
    Capability(126, "ARM_PMU_V3", rule="PMU"),
    Capability(127, "VCPU_ATTRIBUTES"),
    Capability(128, "MAX_VCPU_ID", rule="vcpus"),
    Capability(131, "MSI_DEVID", rule="of a VM"),
    Capability(136, "IMMEDIATE_EXIT"),
    Capability(144, "ARM_USER_IRQ"),
    Capability(158, "ARM_INJECT_SERROR_ESR", rule="RAS"),
    Capability(162, "COALESCED_PIO"),
    Capability(165, "ARM_VM_IPA_SIZE", rule="IPA bits"),
    Capability(168, "MANUAL_DIRTY_LOG_PROTECT2", value=3),
    Capability(170, "ARM_SVE", rule="SVE"),
    Capability(171, "ARM_PTRAUTH_ADDRESS", rule="pointer authentication"),
    Capability(172, "ARM_PTRAUTH_GENERIC", rule="pointer authentication"),
    Capability(174, "ARM_IRQ_LINE_LAYOUT_2"),
    Capability(177, "ARM_NISV_TO_USER"),
    Capability(178, "ARM_INJECT_EXT_DABT"),
    Capability(182, "HALT_POLL"),
    Capability(187, "STEAL_TIME"),
    Capability(195, "SET_GUEST_DEBUG2", (5, 12), 0x30003),
    Capability(198, "PTP_KVM", (5, 13)),
    Capability(203, "BINARY_STATS_FD", (5, 14)),
    Capability(205, "ARM_MTE", (5, 14), rule="MTE"),
    Capability(215, "SYSTEM_EVENT_DATA", (5, 19)),
    Capability(216, "ARM_SYSTEM_SUSPEND", (5, 19)),
    Capability(223, "DIRTY_LOG_RING_ACQ_REL", (6, 3), 0x10_0000),
    Capability(225, "DIRTY_LOG_RING_WITH_BITMAP", (6, 3)),
    Capability(227, "COUNTER_OFFSET", (6, 4)),
    Capability(229, "ARM_SUPPORTED_BLOCK_SIZES", (6, 5), 0x4020_1000),
    Capability(230, "ARM_SUPPORTED_REG_MASK_RANGES", (6, 7)),
    Capability(231, "USER_MEMORY2", (6, 8)),
    Capability(234, "GUEST_MEMFD", (6, 18)),
    Capability(239, "ARM_WRITABLE_IMP_ID_REGS", (6, 15)),
    Capability(240, "ARM_EL2", (6, 16), rule="EL2"),
    Capability(241, "ARM_EL2_E2H0", (6, 16), rule="E2H0"),
    Capability(243, "ARM_CACHEABLE_PFNMAP_SUPPORTED", (6, 17), rule="cacheable, of a VM"),
    Capability(244, "GUEST_MEMFD_FLAGS", (6, 18), 3),
    Capability(245, "ARM_SEA_TO_USER", (6, 19)),
    Capability(251, "ARM_PMU_V3_STRICT", (7, 3), rule="PMU"),
)
