"""The interrupt controllers and the timer of a VM: KVM_SET_IRQCHIP, KVM_CREATE_PIT2, KVM_SET_PIT2, KVM_INTERRUPT.

Source: Linux arch/x86/kvm/x86.c (kvm_arch_vm_ioctl, kvm_vm_ioctl_get_irqchip), from 6.17 on irq.c; i8259.c, ioapic.c.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from inspector.machine.outcome import Outcome, Rule

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import VmConfig

PIC_MASTER, PIC_SLAVE, IOAPIC = range(3)
_KERNEL, _SPLIT = 1, 2
_PIC_SIZE_BYTES = 16
#: The edge/level control's mask, which kvm_pic_init sets: the last byte of struct kvm_pic_state.
_ELCR_MASKS = (0xF8, 0xDE)
_IOAPIC_BASE, _IOAPIC_PINS, _PIN_MASKED = 0xFEC00000, 24, 1 << 16


def use_irqchip(vm: VmConfig, chip: int) -> Outcome:
    """KVM_GET_IRQCHIP and KVM_SET_IRQCHIP, which make the same checks."""
    rule = Rule("kvm_arch_vm_ioctl, kvm_vm_ioctl_get_irqchip (x86.c; from 6.17 on irq.c)")
    if not rule.check("all interrupt controllers are KVM's", vm.irqchip == _KERNEL):
        return rule.refuse(errno.ENXIO)
    known = rule.check("the chip is a PIC (0, 1) or the I/O APIC (2)", chip in (PIC_MASTER, PIC_SLAVE, IOAPIC))
    return rule.ok() if known else rule.refuse(errno.EINVAL)


def fresh_irqchip(chip: int) -> bytes:
    """A chip as KVM makes it: struct kvm_pic_state, struct kvm_ioapic_state."""
    if chip in (PIC_MASTER, PIC_SLAVE):
        return bytes(_PIC_SIZE_BYTES - 1) + bytes([_ELCR_MASKS[chip]])
    return struct.pack("<Q4I", _IOAPIC_BASE, 0, 0, 0, 0) + _IOAPIC_PINS * struct.pack("<Q", _PIN_MASKED)


def create_pit2(kvm: Kvm, vm: VmConfig, *, has_pit: bool = False) -> Outcome:
    """KVM_CREATE_PIT2: in 6.12 and later only with KVM's PICs."""
    rule = Rule("kvm_arch_vm_ioctl (x86.c)")
    if not rule.check("there is no PIT yet", not has_pit):
        return rule.refuse(errno.EEXIST)
    chips = vm.irqchip == _KERNEL or not kvm.since(6, 12)
    return rule.ok() if rule.check("the PICs are KVM's (from 6.12 on)", chips) else rule.refuse(errno.ENOENT)


def use_pit2(*, has_pit: bool) -> Outcome:
    """KVM_GET_PIT2 and KVM_SET_PIT2."""
    rule = Rule("kvm_arch_vm_ioctl (x86.c)")
    return rule.ok() if rule.check("the VM has a PIT", has_pit) else rule.refuse(errno.ENXIO)


def interrupt(vm: VmConfig, vector: int, *, one_waits: bool = False) -> Outcome:
    """KVM_INTERRUPT: a vector where the VMM has the PIC; split, one at a time (``one_waits`` for the guest)."""
    rule = Rule("kvm_vcpu_ioctl_interrupt (x86.c)")
    if not rule.check("a vector below 256", vector < 256):
        return rule.refuse(errno.EINVAL)
    if not rule.check("the PIC is not KVM's", vm.irqchip != _KERNEL):
        return rule.refuse(errno.ENXIO)
    held = vm.irqchip != _SPLIT or rule.check("no vector waits for the guest", not one_waits)
    return rule.ok() if held else rule.refuse(errno.EEXIST)
