"""A whole vCPU: all the state that a VMM saves and restores.

The rules are functions by area: ``cpuid_ioctls.py``, ``sregs.py``, ``msrs/`` and so on; each takes the vCPU and
gives an Outcome. State that KVM keeps in struct kvm_vcpu_arch has its name in ``state.py``.
"""

from __future__ import annotations

from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm import cpuid_ioctls, segments
from inspector.machine.x86.kvm.debugregs import DebugRegs
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.lapic import Lapic
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.pending import PendingEvents
from inspector.machine.x86.kvm.regs import Regs
from inspector.machine.x86.kvm.state import (
    CR0_CACHING,
    IRQCHIP_KERNEL,
    IRQCHIP_NONE,
    IRQCHIP_SPLIT,
    RESET_CR0,
    VcpuState,
    VmConfig,
)
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.nested.svm import SvmNested
    from inspector.machine.x86.kvm.nested.vmx import VmxNested

__all__ = ("IRQCHIP_KERNEL", "IRQCHIP_NONE", "IRQCHIP_SPLIT", "VmConfig", "WholeVcpu")


def _nested(vcpu: WholeVcpu) -> VmxNested | SvmNested:
    """The nested state of the vendor: the other's rules are not needed."""
    if vcpu.kvm.is_vmx:
        from inspector.machine.x86.kvm.nested.vmx import VmxNested

        return VmxNested(vcpu)
    from inspector.machine.x86.kvm.nested.svm import SvmNested

    return SvmNested(vcpu)


class WholeVcpu(VcpuState):
    """One vCPU of a VM, with the areas that have a class of their own."""

    lapic: Lapic | None
    pending: PendingEvents
    nested: VmxNested | SvmNested

    def __init__(self, kvm: Kvm, vm: VmConfig | None = None, *, vcpu_id: int = 0) -> None:
        super().__init__(kvm, vm, vcpu_id=vcpu_id)
        self.regs = Regs(self)
        self.debugregs = DebugRegs()
        self.pending = PendingEvents(self)
        self.nested = _nested(self)
        self.lapic = Lapic(self) if self.vm.has_lapic else None

    def set_cpuid2(self, entries: tuple[Entry, ...]) -> Outcome:
        """KVM_SET_CPUID2."""
        return cpuid_ioctls.set_cpuid2(self, entries)

    def reset_by_init(self) -> None:
        """kvm_vcpu_reset for INIT."""
        self.leave_nested()
        self.cr0 = self.cr0 & CR0_CACHING | RESET_CR0 & ~CR0_CACHING
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
