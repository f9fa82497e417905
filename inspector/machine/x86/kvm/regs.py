"""KVM_GET_REGS and KVM_SET_REGS. Source: Linux arch/x86/kvm/x86.c, from 7.2 on regs.c (__set_regs, __get_regs)."""

from __future__ import annotations

import struct

from inspector.machine.outcome import Outcome, Rule
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.state import VcpuState

_FORM = struct.Struct("<18Q")
SIZE_BYTES = 144
_RIP, _RFLAGS, _RDX, _RSP = 16, 17, 3, 6
#: X86_EFLAGS_FIXED: bit 1 reads as 1.
RFLAGS_FIXED = 2
RESET_RIP = 0xFFF0
#: What RDX has where CPUID has no leaf 1: family 6 (kvm_vcpu_reset).
DEFAULT_SIGNATURE = 0x600


class Regs:
    """The general registers, RIP and RFLAGS of a vCPU. Nothing that is set is refused."""

    def __init__(self, vcpu: VcpuState) -> None:
        self.vcpu = vcpu
        self.values = [0] * 18
        self.reset()

    def reset(self) -> None:
        """kvm_vcpu_reset: RDX has CPUID(1).EAX, or family 6; 5.10's svm_vcpu_reset has 0 without that leaf."""
        kvm = self.vcpu.kvm
        without = 0 if kvm.is_svm and not kvm.since(5, 11) else DEFAULT_SIGNATURE
        self.values = [0] * 18
        self.values[_RDX] = (self.vcpu.guest.leaf(1) or (without,))[0]
        self.values[_RIP], self.values[_RFLAGS] = RESET_RIP, RFLAGS_FIXED

    @property
    def rip(self) -> int:
        """The instruction pointer."""
        return self.values[_RIP]

    @property
    def rsp(self) -> int:
        """The stack pointer."""
        return self.values[_RSP]

    @property
    def rflags(self) -> int:
        """The flags."""
        return self.values[_RFLAGS]

    def get(self) -> bytes:
        """Struct kvm_regs, 144 bytes."""
        return _FORM.pack(*self.values)

    def set(self, image: bytes) -> Outcome:
        """Take a struct kvm_regs: bit 1 of RFLAGS is set, an exception that was pending is dropped."""
        rule = Rule("__set_regs (regs.c; before 7.2 x86.c)")
        rule.check("any values", held=True)
        self.values = list(_FORM.unpack_from(image))
        self.values[_RFLAGS] |= RFLAGS_FIXED
        self.vcpu.pending.pending = False
        return rule.ok()
