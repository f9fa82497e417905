"""KVM's ioctls: number, direction and size of the structure of each, as ``_IOC`` puts them together.

Source: Linux 7.2, include/uapi/linux/kvm.h (``KVMIO`` 0xAE) and arch/*/include/uapi/asm/kvm.h; whose they are:
kvm_dev_ioctl, kvm_vm_ioctl, kvm_vcpu_ioctl (virt/kvm/kvm_main.c) and those of x86 and arm64. Sizes are those of x86-64.
"""

from __future__ import annotations

from typing import NamedTuple

from layouts.light import cache

KVMIO = 0xAE


class Ioctl(NamedTuple):
    """A request: its number as user space passes it, and of which descriptors (``kvm``, ``vm``, ``vcpu``)."""

    name: str
    request: int
    of: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """The size that the number says: of the head alone where entries follow."""
        return self.request >> 16 & 0x3FFF


#: Arguments that are the number itself, no address (virt/kvm/kvm_main.c and the architectures' ioctls).
PLAIN = frozenset(
    {
        "KVM_GET_API_VERSION",
        "KVM_CREATE_VM",
        "KVM_CHECK_EXTENSION",
        "KVM_GET_VCPU_MMAP_SIZE",
        "KVM_CREATE_VCPU",
        "KVM_SET_TSS_ADDR",
        "KVM_CREATE_IRQCHIP",
        "KVM_SET_TSC_KHZ",
        "KVM_GET_TSC_KHZ",
        "KVM_SET_BOOT_CPU_ID",
        "KVM_NMI",
        "KVM_KVMCLOCK_CTRL",
    }
)
_ROWS = (
    ("KVM_GET_API_VERSION", 0x0000AE00, "kvm"),
    ("KVM_CREATE_VM", 0x0000AE01, "kvm"),
    ("KVM_GET_MSR_INDEX_LIST", 0xC004AE02, "kvm"),
    ("KVM_CHECK_EXTENSION", 0x0000AE03, "kvm vm"),
    ("KVM_GET_VCPU_MMAP_SIZE", 0x0000AE04, "kvm"),
    ("KVM_GET_SUPPORTED_CPUID", 0xC008AE05, "kvm"),
    ("KVM_GET_EMULATED_CPUID", 0xC008AE09, "kvm"),
    ("KVM_GET_MSR_FEATURE_INDEX_LIST", 0xC004AE0A, "kvm"),
    ("KVM_CREATE_VCPU", 0x0000AE41, "vm"),
    ("KVM_GET_DIRTY_LOG", 0x4010AE42, "vm"),
    ("KVM_SET_NR_MMU_PAGES", 0x0000AE44, "vm"),
    ("KVM_SET_USER_MEMORY_REGION", 0x4020AE46, "vm"),
    ("KVM_SET_TSS_ADDR", 0x0000AE47, "vm"),
    ("KVM_SET_IDENTITY_MAP_ADDR", 0x4008AE48, "vm"),
    ("KVM_SET_USER_MEMORY_REGION2", 0x40A0AE49, "vm"),
    ("KVM_CREATE_IRQCHIP", 0x0000AE60, "vm"),
    ("KVM_IRQ_LINE", 0x4008AE61, "vm"),
    ("KVM_GET_IRQCHIP", 0xC208AE62, "vm"),
    ("KVM_SET_IRQCHIP", 0x8208AE63, "vm"),
    ("KVM_CREATE_PIT", 0x0000AE64, "vm"),
    ("KVM_GET_PIT", 0xC048AE65, "vm"),
    ("KVM_SET_PIT", 0x8048AE66, "vm"),
    ("KVM_IRQ_LINE_STATUS", 0xC008AE67, "vm"),
    ("KVM_SET_GSI_ROUTING", 0x4008AE6A, "vm"),
    ("KVM_REINJECT_CONTROL", 0x0000AE71, "vm"),
    ("KVM_IRQFD", 0x4020AE76, "vm"),
    ("KVM_CREATE_PIT2", 0x4040AE77, "vm"),
    ("KVM_SET_BOOT_CPU_ID", 0x0000AE78, "vm"),
    ("KVM_IOEVENTFD", 0x4040AE79, "vm"),
    ("KVM_XEN_HVM_CONFIG", 0x4038AE7A, "vm"),
    ("KVM_SET_CLOCK", 0x4030AE7B, "vm"),
    ("KVM_GET_CLOCK", 0x8030AE7C, "vm"),
    ("KVM_GET_PIT2", 0x8070AE9F, "vm"),
    ("KVM_SET_PIT2", 0x4070AEA0, "vm"),
    ("KVM_SET_TSC_KHZ", 0x0000AEA2, "vm vcpu"),
    ("KVM_GET_TSC_KHZ", 0x0000AEA3, "vm vcpu"),
    ("KVM_SIGNAL_MSI", 0x4020AEA5, "vm"),
    ("KVM_SET_PMU_EVENT_FILTER", 0x4020AEB2, "vm"),
    ("KVM_CREATE_DEVICE", 0xC00CAEE0, "vm"),
    ("KVM_SET_DEVICE_ATTR", 0x4018AEE1, "vm vcpu"),
    ("KVM_GET_DEVICE_ATTR", 0x4018AEE2, "kvm vcpu"),
    ("KVM_HAS_DEVICE_ATTR", 0x4018AEE3, "kvm vm vcpu"),
    ("KVM_RUN", 0x0000AE80, "vcpu"),
    ("KVM_GET_REGS", 0x8090AE81, "vcpu"),
    ("KVM_SET_REGS", 0x4090AE82, "vcpu"),
    ("KVM_GET_SREGS", 0x8138AE83, "vcpu"),
    ("KVM_SET_SREGS", 0x4138AE84, "vcpu"),
    ("KVM_TRANSLATE", 0xC018AE85, "vcpu"),
    ("KVM_INTERRUPT", 0x4004AE86, "vcpu"),
    ("KVM_GET_MSRS", 0xC008AE88, "kvm vcpu"),
    ("KVM_SET_MSRS", 0x4008AE89, "vcpu"),
    ("KVM_SET_CPUID", 0x4008AE8A, "vcpu"),
    ("KVM_SET_SIGNAL_MASK", 0x4004AE8B, "vcpu"),
    ("KVM_GET_FPU", 0x81A0AE8C, "vcpu"),
    ("KVM_SET_FPU", 0x41A0AE8D, "vcpu"),
    ("KVM_GET_LAPIC", 0x8400AE8E, "vcpu"),
    ("KVM_SET_LAPIC", 0x4400AE8F, "vcpu"),
    ("KVM_SET_CPUID2", 0x4008AE90, "vcpu"),
    ("KVM_GET_CPUID2", 0xC008AE91, "vcpu"),
    ("KVM_TPR_ACCESS_REPORTING", 0xC028AE92, "vcpu"),
    ("KVM_SET_VAPIC_ADDR", 0x4008AE93, "vcpu"),
    ("KVM_GET_MP_STATE", 0x8004AE98, "vcpu"),
    ("KVM_SET_MP_STATE", 0x4004AE99, "vcpu"),
    ("KVM_NMI", 0x0000AE9A, "vcpu"),
    ("KVM_SET_GUEST_DEBUG", 0x4048AE9B, "vcpu"),
    ("KVM_X86_SETUP_MCE", 0x4008AE9C, "vcpu"),
    ("KVM_X86_GET_MCE_CAP_SUPPORTED", 0x8008AE9D, "kvm"),
    ("KVM_X86_SET_MCE", 0x4040AE9E, "vcpu"),
    ("KVM_GET_VCPU_EVENTS", 0x8040AE9F, "vcpu"),
    ("KVM_SET_VCPU_EVENTS", 0x4040AEA0, "vcpu"),
    ("KVM_GET_DEBUGREGS", 0x8080AEA1, "vcpu"),
    ("KVM_SET_DEBUGREGS", 0x4080AEA2, "vcpu"),
    ("KVM_ENABLE_CAP", 0x4068AEA3, "vm vcpu"),
    ("KVM_GET_XSAVE", 0x9000AEA4, "vcpu"),
    ("KVM_SET_XSAVE", 0x5000AEA5, "vcpu"),
    ("KVM_GET_XCRS", 0x8188AEA6, "vcpu"),
    ("KVM_SET_XCRS", 0x4188AEA7, "vcpu"),
    ("KVM_GET_ONE_REG", 0x4010AEAB, "vcpu"),
    ("KVM_SET_ONE_REG", 0x4010AEAC, "vcpu"),
    ("KVM_KVMCLOCK_CTRL", 0x0000AEAD, "vcpu"),
    ("KVM_GET_REG_LIST", 0xC008AEB0, "vcpu"),
    ("KVM_SMI", 0x0000AEB7, "vcpu"),
    ("KVM_MEMORY_ENCRYPT_OP", 0xC008AEBA, "vm vcpu"),
    ("KVM_MEMORY_ENCRYPT_REG_REGION", 0x8010AEBB, "vm"),
    ("KVM_MEMORY_ENCRYPT_UNREG_REGION", 0x8010AEBC, "vm"),
    ("KVM_HYPERV_EVENTFD", 0x4018AEBD, "vm"),
    ("KVM_GET_NESTED_STATE", 0xC080AEBE, "vcpu"),
    ("KVM_SET_NESTED_STATE", 0x4080AEBF, "vcpu"),
    ("KVM_CLEAR_DIRTY_LOG", 0xC018AEC0, "vm"),
    ("KVM_GET_SUPPORTED_HV_CPUID", 0xC008AEC1, "kvm vcpu"),
    ("KVM_X86_SET_MSR_FILTER", 0x4188AEC6, "vm"),
    ("KVM_RESET_DIRTY_RINGS", 0x0000AEC7, "vm"),
    ("KVM_XEN_HVM_GET_ATTR", 0xC048AEC8, "vm"),
    ("KVM_XEN_HVM_SET_ATTR", 0x4048AEC9, "vm"),
    ("KVM_XEN_VCPU_GET_ATTR", 0xC048AECA, "vcpu"),
    ("KVM_XEN_VCPU_SET_ATTR", 0x4048AECB, "vcpu"),
    ("KVM_XEN_HVM_EVTCHN_SEND", 0x400CAED0, "vm"),
    ("KVM_GET_SREGS2", 0x8140AECC, "vcpu"),
    ("KVM_SET_SREGS2", 0x4140AECD, "vcpu"),
    ("KVM_GET_STATS_FD", 0x0000AECE, "vm vcpu"),
    ("KVM_GET_XSAVE2", 0x9000AECF, "vcpu"),
    ("KVM_SET_MEMORY_ATTRIBUTES", 0x4020AED2, "vm"),
    ("KVM_CREATE_GUEST_MEMFD", 0xC040AED4, "vm"),
    ("KVM_PRE_FAULT_MEMORY", 0xC040AED5, "vcpu"),
    ("KVM_ARM_SET_DEVICE_ADDR", 0x4010AEAB, "vm"),
    ("KVM_ARM_VCPU_INIT", 0x4020AEAE, "vcpu"),
    ("KVM_ARM_PREFERRED_TARGET", 0x8020AEAF, "vm"),
    ("KVM_ARM_VCPU_FINALIZE", 0x4004AEC2, "vcpu"),
    ("KVM_ARM_MTE_COPY_TAGS", 0x8030AEB4, "vm"),
    ("KVM_ARM_SET_COUNTER_OFFSET", 0x4010AEB5, "vm"),
    ("KVM_ARM_GET_REG_WRITABLE_MASKS", 0x8010AEB6, "vm"),
)


@cache
def ioctls() -> dict[str, Ioctl]:
    """Every request by name."""
    return {name: Ioctl(name, request, tuple(of.split())) for name, request, of in _ROWS}


@cache
def _by_number() -> dict[int, Ioctl]:
    return {ioctl.request: ioctl for ioctl in ioctls().values()}


def ioctl_of(request: int) -> Ioctl | None:
    """The request with this number."""
    return _by_number().get(request & 0xFFFF_FFFF)
