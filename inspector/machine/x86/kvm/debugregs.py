"""KVM_GET_DEBUGREGS and KVM_SET_DEBUGREGS.

Source: Linux arch/x86/kvm/x86.c, from 7.2 on regs.c (kvm_vcpu_ioctl_x86_set_debugregs).
"""

from __future__ import annotations

import errno
import struct

from inspector.machine.outcome import Outcome, Rule

_FORM = struct.Struct("<7Q")
SIZE_BYTES = 128
#: DR6 and DR7 after reset (DR6_ACTIVE_LOW, DR7_FIXED_1).
DR6_RESET, DR7_RESET = 0xFFFF0FF0, 0x400


def valid_dr(value: int) -> bool:
    """kvm_dr6_valid, kvm_dr7_valid: bits 63:32 are zero."""
    return not value >> 32


class DebugRegs:
    """DR0 to DR3, DR6 and DR7 of a vCPU."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """kvm_vcpu_reset."""
        self.db = [0, 0, 0, 0]
        self.dr6 = DR6_RESET
        self.dr7 = DR7_RESET

    def get(self) -> bytes:
        """Struct kvm_debugregs, 128 bytes."""
        return _FORM.pack(*self.db, self.dr6, self.dr7, 0).ljust(SIZE_BYTES, b"\0")

    def set(self, image: bytes) -> Outcome:
        """Take a struct kvm_debugregs; what is reserved in it is passed over."""
        rule = Rule("kvm_vcpu_ioctl_x86_set_debugregs (regs.c; before 7.2 x86.c)")
        *db, dr6, dr7, flags = _FORM.unpack_from(image)
        held = (
            rule.check("no flags", not flags)
            and rule.check("DR6 has 32 bits (kvm_dr6_valid)", valid_dr(dr6))
            and rule.check("DR7 has 32 bits (kvm_dr7_valid)", valid_dr(dr7))
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        self.db, self.dr6, self.dr7 = db, dr6, dr7
        return rule.ok()
