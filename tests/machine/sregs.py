"""vCPUs whose control registers tests set."""

from __future__ import annotations

import struct

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm import sregs
from inspector.machine.x86.kvm.guest_cpuid import Entry, GuestCpuid
from inspector.machine.x86.kvm.module import SVM, Kvm
from inspector.machine.x86.kvm.whole import IRQCHIP_KERNEL, VmConfig, WholeVcpu
from layouts.x86.kernels import profile_for

M64 = (1 << 64) - 1
NX, FXSR_OPT, LM = 1 << 20, 1 << 25, 1 << 29
AUTOIBRS, LMSLE_MBZ = 1 << 8, 1 << 20
BASE = 0xFEE00900


def kvm_of(
    release: str,
    vendor: str = SVM,
    edx: int = NX | LM,
    more: dict[tuple[int, int], CpuidValues] | None = None,
    **on: str,
) -> Kvm:
    """KVM on a processor that has these of leaf 0x80000001's EDX, and ``more``."""
    leaves: dict[tuple[int, int], CpuidValues] = {
        (1, 0): (0, 0, 1 << 26 | 1 << 21, 0),
        (0xD, 0): (7, 0x340, 0x340, 0),
        (0x80000000, 0): (0x80000021, 0, 0, 0),
        (0x80000001, 0): (0, 0, 4, edx),
    }
    return Kvm(Host(Cpuid(leaves | (more or {})), profile_for(release)), release=release, vendor=vendor, parameters=on)


def vcpu_of(
    release: str, vendor: str = SVM, *entries: Entry, irqchip: int = IRQCHIP_KERNEL, memory: int = 0
) -> WholeVcpu:
    """A vCPU with such a table; without entries none was set."""
    vcpu = WholeVcpu(kvm_of(release, vendor), VmConfig(irqchip=irqchip, memory=bytearray(memory)))
    if entries:
        vcpu.guest = GuestCpuid(vcpu.kvm, entries)
    return vcpu


#: 40 bits of physical addresses.
WIDTHS = (Entry(0x80000000, 0, 0, 0x80000008, 0, 0, 0), Entry(0x80000008, 0, 0, 40, 0, 0, 0))
X2APIC_ENTRY = Entry(1, 0, 0, 0, 0, 1 << 21, 0)


def with_register(vcpu: WholeVcpu, **registers: int) -> bytes:
    """struct kvm_sregs as the vCPU has it, but for these registers."""
    names = sregs.Sregs._fields
    image = bytearray(sregs.get_sregs(vcpu))
    for name, value in registers.items():
        struct.pack_into("<Q", image, 224 + 8 * names.index(name), value)
    return bytes(image)
