"""vCPUs of AMD in 64-bit mode, with a little memory, whose first step tests ask for."""

from __future__ import annotations

import struct

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.module import SVM, Kvm
from inspector.machine.x86.kvm.segments import Segment
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from layouts.x86.kernels import profile_for

LMA = 0x500
MEMORY = 0x20000
CS = 0


def vcpu_of(release: str = "6.12", *, rip: int = 0x1000, rflags: int = 2, **parameters: str) -> WholeVcpu:
    """A vCPU in 64-bit mode without paging turned on, its IDT at 0x800 and its stack at 0x2000."""
    kvm = Kvm(Host(Cpuid({}), profile_for(release)), release=release, vendor=SVM, parameters=parameters)
    vcpu = WholeVcpu(kvm, VmConfig(memory=bytearray(MEMORY)))
    vcpu.cr0, vcpu.efer = 0x11, LMA
    segment(vcpu, CS, l=1)
    vcpu.idt = struct.pack("<QH6x", 0x800, 0xFFF)
    vcpu.regs.set(struct.pack("<18Q", *[0] * 6, 0x2000, *[0] * 9, rip, rflags))
    return vcpu


def segment(vcpu: WholeVcpu, number: int, **fields: int) -> None:
    """Fields of a segment's are others."""
    images = list(vcpu.segments)
    images[number] = Segment.of(images[number])._replace(**fields).image()
    vcpu.segments = tuple(images)


def gate(vcpu: WholeVcpu, vector: int, handler: int, base: int = 0x800) -> None:
    low = handler & 0xFFFF | 0xABCD << 16 | 0x8E00 << 32 | (handler >> 16 & 0xFFFF) << 48
    at = base + 16 * vector
    vcpu.vm.memory[at : at + 16] = struct.pack("<QII", low, handler >> 32, 0x55555555)  # type: ignore[index]
