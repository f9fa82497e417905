"""The nested state of a vCPU: its header and what both formats check.

Source: Linux arch/x86/include/uapi/asm/kvm.h (struct kvm_nested_state), arch/x86/kvm/x86.c (kvm_arch_vcpu_ioctl).
"""

from __future__ import annotations

import errno
import struct
from abc import ABC, abstractmethod

from inspector.machine.outcome import Outcome, Rule
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.state import VcpuState

HEADER_SIZE_BYTES = 128
GUEST_MODE, RUN_PENDING, EVMCS, MTF_PENDING, GIF_SET = 1, 2, 4, 8, 0x100
_KNOWN = GUEST_MODE | RUN_PENDING | EVMCS | MTF_PENDING | GIF_SET
_FORM = struct.Struct("<HHI")


class NestedState(ABC):
    """What both vendors' formats have. Without ``nested`` there is none (from 7.2 on), and both ioctls give EINVAL."""

    format = -1
    source = "kvm_arch_vcpu_ioctl (x86.c)"

    run_pending = False

    def __init__(self, vcpu: VcpuState) -> None:
        self.vcpu = vcpu

    @property
    def exists(self) -> bool:
        """nested_ops are there: those of SVM and VMX, since 7.2 only with the module's parameter ``nested``."""
        kvm = self.vcpu.kvm
        return not kvm.is_pvm and (kvm.nests or not kvm.since(7, 2))

    @property
    def blocks_init(self) -> bool:
        """INIT waits for the guest's hypervisor."""
        return False

    def leave(self) -> None:
        """kvm_leave_nested."""
        self.run_pending = False
        self.vcpu.is_guest_mode = False

    def get(self, size: int) -> tuple[int, bytes]:
        """KVM_GET_NESTED_STATE into ``size`` bytes: the errno, and header with data."""
        if not self.exists:
            return errno.EINVAL, b""
        flags, header, data = self.saved()
        total = HEADER_SIZE_BYTES + len(data)
        image = (_FORM.pack(flags, self.format, total) + header).ljust(HEADER_SIZE_BYTES, b"\0") + data
        return (errno.E2BIG, b"") if total > size else (0, image)

    @abstractmethod
    def saved(self) -> tuple[int, bytes, bytes]:
        """Flags, the vendor's part of the header, the data after it."""

    def set(self, image: bytes) -> Outcome:
        """KVM_SET_NESTED_STATE; ``image`` is at least a header, and as much as the VMM's memory has behind it."""
        rule = Rule(self.source)
        flags, form, size = _FORM.unpack_from(image)
        held = (
            rule.check("KVM nests (the parameter nested)", self.exists)
            and rule.check(f"{HEADER_SIZE_BYTES} bytes at least", size >= HEADER_SIZE_BYTES)
            and rule.check(f"no flags but {_KNOWN:#x}", not flags & ~_KNOWN)
            and rule.check("a run is pending in guest mode only", flags & GUEST_MODE or not flags & RUN_PENDING)
            and rule.check(f"the format is {self.format}", form == self.format)
        )
        if not held:
            return rule.refuse(errno.EINVAL)
        return self.restore(rule, flags, size, image)

    @abstractmethod
    def restore(self, rule: Rule, flags: int, size: int, image: bytes) -> Outcome:
        """The vendor's part."""

    def page_address_valid(self, address: int) -> bool:
        """page_address_valid: aligned to 4 KiB, within the guest's physical width."""
        return not address & 0xFFF and self.legal_gpa(address)

    def legal_gpa(self, address: int) -> bool:
        """kvm_vcpu_is_legal_gpa."""
        return not address >> self.vcpu.guest.maxphyaddr
