"""A whole vCPU: all the state that a VMM saves and restores, and the VM around it.

The rules are functions by area: ``cpuid_ioctls.py``, ``sregs.py``, ``msrs/`` and so on; each takes the vCPU and
gives an Outcome. State that KVM keeps in struct kvm_vcpu_arch has its name here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm import cpuid_ioctls, segments
from inspector.machine.x86.kvm.debugregs import DebugRegs
from inspector.machine.x86.kvm.guest_cpuid import Entry, GuestCpuid
from inspector.machine.x86.kvm.lapic import Lapic
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.nested.svm import SvmNested
from inspector.machine.x86.kvm.nested.vmx import VmxNested
from inspector.machine.x86.kvm.pending import PendingEvents
from inspector.machine.x86.kvm.regs import Regs
from inspector.machine.x86.kvm.vcpu import Vcpu

#: Where the in-kernel interrupt controllers are: none, all in the kernel, or the local APICs only.
IRQCHIP_NONE, IRQCHIP_KERNEL, IRQCHIP_SPLIT = 0, 1, 2
_APIC_BASE, _APIC_ENABLED, _BSP = 0xFEE00000, 0x800, 0x100
KVM_MAX_MCE_BANKS = 32
_RESET_CR0 = 0x60000010
#: CD and NW, which INIT leaves.
_CR0_CACHING = 0x60000000


@dataclass
class VmConfig:
    """What a VMM set of a VM before its vCPUs.

    ``irqchip`` is one of IRQCHIP_*, ``disabled_quirks`` the mask of KVM_CAP_DISABLE_QUIRKS2, ``caps`` the
    capabilities turned on by KVM_ENABLE_CAP on the VM with their args[0], ``vcpu_ids`` the ids of its vCPUs.
    """

    irqchip: int = IRQCHIP_KERNEL
    disabled_quirks: int = 0
    caps: dict[int, int] = field(default_factory=dict)
    vcpu_ids: tuple[int, ...] = (0,)
    #: Guest physical memory, for the rules that read it (PDPTEs, VMCS12): start -> bytes.
    memory: bytearray = field(default_factory=bytearray)

    @property
    def has_lapic(self) -> bool:
        """irqchip_in_kernel: the local APICs are KVM's."""
        return self.irqchip != IRQCHIP_NONE

    def has_page(self, page: int, kvm: Kvm) -> bool:
        """A memory slot has the page: the guest's, or KVM's own for APIC accesses (kvm_alloc_apic_access_page)."""
        if page < len(self.memory) >> 12:
            return True
        return page == _APIC_BASE >> 12 and kvm.is_vmx and self.has_lapic and kvm.is_on("flexpriority", default=True)


class WholeVcpu(Vcpu):
    """One vCPU of a VM, as KVM_CREATE_VCPU gives it."""

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
        self.cr0, self.cr2, self.cr3, self.cr4, self.cr8 = _RESET_CR0, 0, 0, 0, 0
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
        # What has a class of its own.
        self.regs = Regs(self)
        self.debugregs = DebugRegs()
        self.pending = PendingEvents(self)
        self.nested = VmxNested(self) if kvm.is_vmx else SvmNested(self)
        self.lapic: Lapic | None = Lapic(self) if self.vm.has_lapic else None

    def has_quirk(self, quirk: int) -> bool:
        """kvm_check_has_quirk: a bit of KVM_X86_QUIRK_* that the VMM has not turned off."""
        return not self.vm.disabled_quirks & quirk

    def set_cpuid2(self, entries: tuple[Entry, ...]) -> Outcome:
        """KVM_SET_CPUID2."""
        return cpuid_ioctls.set_cpuid2(self, entries)

    def reset_by_init(self) -> None:
        """kvm_vcpu_reset for INIT."""
        self.leave_nested()
        self.cr0 = self.cr0 & _CR0_CACHING | _RESET_CR0 & ~_CR0_CACHING
        self.cr2 = self.cr3 = self.cr4 = self.efer = 0
        self.cr4_osxsave = False
        self.segments = segments.at_reset(svm=self.kvm.is_svm)
        self.gdt = self.idt = segments.TABLE_AT_RESET
        self.is_smm = False
        self.regs.reset()
        self.debugregs.reset()
        self.pending.reset()
        if self.lapic is not None:
            self.lapic.reset(init_event=True)

    def leave_nested(self) -> None:
        """kvm_leave_nested: out of L2, without running."""
        self.nested.leave()
