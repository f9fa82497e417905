"""What KVM keeps of a vCPU in struct kvm_vcpu_arch, and the VM around it: the state that rules are about.

The areas that have a class of their own are made with the whole vCPU (``whole.py``); here is what rules ask of them.
"""

from __future__ import annotations

from inspector.machine.x86.kvm import segments
from inspector.machine.x86.kvm.guest_cpuid import GuestCpuid
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.vcpu import Vcpu
from layouts.light import Protocol

#: Where the in-kernel interrupt controllers are: none, all in the kernel, or the local APICs only.
IRQCHIP_NONE, IRQCHIP_KERNEL, IRQCHIP_SPLIT = 0, 1, 2
_APIC_BASE, _APIC_ENABLED, _BSP = 0xFEE00000, 0x800, 0x100
KVM_MAX_MCE_BANKS = 32
RESET_CR0 = 0x60000010
#: CD and NW, which INIT leaves.
CR0_CACHING = 0x60000000


class VmConfig:
    """What a VMM set of a VM before its vCPUs.

    ``irqchip`` is one of IRQCHIP_*, ``disabled_quirks`` the mask of KVM_CAP_DISABLE_QUIRKS2, ``caps`` the
    capabilities turned on by KVM_ENABLE_CAP on the VM with their args[0], ``vcpu_ids`` the ids of its vCPUs.
    """

    def __init__(
        self,
        irqchip: int = IRQCHIP_KERNEL,
        disabled_quirks: int = 0,
        caps: dict[int, int] | None = None,
        vcpu_ids: tuple[int, ...] = (0,),
        memory: bytes | bytearray | None = None,
    ) -> None:
        self.irqchip = irqchip
        self.disabled_quirks = disabled_quirks
        self.caps = {} if caps is None else caps
        self.vcpu_ids = vcpu_ids
        #: Guest physical memory from 0 on, for the rules that read it (PDPTEs, VMCS12).
        self.memory: bytes | bytearray = b"" if memory is None else memory

    @property
    def has_lapic(self) -> bool:
        """irqchip_in_kernel: the local APICs are KVM's."""
        return self.irqchip != IRQCHIP_NONE

    def has_page(self, page: int, kvm: Kvm) -> bool:
        """A memory slot has the page: the guest's, or KVM's own for APIC accesses (kvm_alloc_apic_access_page)."""
        if page < len(self.memory) >> 12:
            return True
        return page == _APIC_BASE >> 12 and kvm.is_vmx and self.has_lapic and kvm.is_on("flexpriority")


class LapicLike(Protocol):
    """The local APIC, as other areas' rules need it."""

    def read(self, offset: int, size: int = 4) -> int:
        """A register."""

    def set_tpr(self, cr8: int) -> None:
        """kvm_lapic_set_tpr."""

    def base_changed(self, before: int, value: int) -> None:
        """__kvm_apic_set_base."""

    def after_cpuid(self) -> None:
        """What KVM_SET_CPUID2 changes in it."""


class PendingLike(Protocol):
    """What waits to be injected, as other areas' rules need it."""

    pending: bool
    interrupt_injected: bool
    interrupt_soft: bool
    interrupt_vector: int


class NestedLike(Protocol):
    """Nested state, as other areas' rules need it."""

    def leave(self) -> None:
        """kvm_leave_nested."""


class VcpuState(Vcpu):
    """The registers of one vCPU, as KVM_CREATE_VCPU gives them."""

    lapic: LapicLike | None
    pending: PendingLike
    nested: NestedLike

    def __init__(self, kvm: Kvm, vm: VmConfig | None = None, *, vcpu_id: int = 0) -> None:
        super().__init__(kvm.process(), vcpu_id)
        self.kvm = kvm
        self.kernel = kvm.kernel
        self.vm = vm or VmConfig()
        self.vcpu_id = vcpu_id
        self.is_bsp = vcpu_id == 0
        #: The entries as KVM_SET_CPUID2 took them, with what KVM changes in them at run time.
        self.guest = GuestCpuid(kvm, is_set=False)
        #: What the entries have to follow changed (cpuid_dynamic_bits_dirty).
        self.cpuid_dirty = False
        #: pv_cpuid.features.
        self.pv_features = 0
        #: cap -> args[0] of KVM_ENABLE_CAP on the vCPU.
        self.caps: dict[int, int] = {}
        # Control registers and segments (sregs.py).
        self.cr0, self.cr2, self.cr3, self.cr4, self.cr8 = RESET_CR0, 0, 0, 0, 0
        self.efer = 0
        self.apic_base = _APIC_BASE | _APIC_ENABLED | (_BSP if self.is_bsp else 0)
        self.segments = segments.at_reset(svm=kvm.is_svm)
        self.gdt = self.idt = segments.TABLE_AT_RESET
        self.pdptrs = [0, 0, 0, 0]
        #: MSRs that have no other place: index -> value (msrs/).
        self.msrs: dict[int, int] = {}
        #: HF_SMM_MASK, HF_GUEST_MASK and the like.
        self.is_smm = False
        self.is_guest_mode = False
        #: KVM_MP_STATE_*.
        self.mp_state = 0 if self.is_bsp or not self.vm.has_lapic else 1
        #: IA32_MCG_CAP, as KVM_X86_SETUP_MCE set it; at first the greatest number of banks.
        self.mcg_cap = KVM_MAX_MCE_BANKS
        #: The shadow stack pointer (GUEST_SSP, KVM_REG_GUEST_SSP).
        self.guest_ssp = 0
        #: What KVM_GET_TSC_KHZ tells.
        self.tsc_khz = kvm.processor.tsc_khz

    def has_quirk(self, quirk: int) -> bool:
        """kvm_check_has_quirk: a bit of KVM_X86_QUIRK_* that the VMM has not turned off."""
        return not self.vm.disabled_quirks & quirk

    def leave_nested(self) -> None:
        """kvm_leave_nested: out of L2, without running."""
        self.nested.leave()
