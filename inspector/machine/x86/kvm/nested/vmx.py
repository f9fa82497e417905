"""Nested state on Intel: format 0, VMXON and VMCS12 by address, the VMCS12 and its shadow after the header.

Source: Linux arch/x86/kvm/vmx/nested.c (vmx_set_nested_state, vmx_get_nested_state, nested_vmx_check_controls).
"""

from __future__ import annotations

import errno
import struct

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.nested.state import (
    EVMCS,
    GUEST_MODE,
    HEADER_SIZE_BYTES,
    MTF_PENDING,
    RUN_PENDING,
    NestedState,
)

VMCS12_SIZE_BYTES = 4096
VMCS12_REVISION = 0x11E57ED0
INVALID_GPA = (1 << 64) - 1
SMM_GUEST_MODE, SMM_VMXON = 1, 2
_DEADLINE = 1
_HEADER = struct.Struct("<QQHHIQ")
#: offsetof(struct vmcs12, pin_based_vm_exec_control), and the bits that are 1 in it (SDM vol. 3, A.3.1).
_PIN_CONTROLS, _PIN_ONES = 744, 0x16
#: PIN_BASED_VMX_PREEMPTION_TIMER.
_PIN_TIMER = 1 << 6


class VmxNested(NestedState):
    """VMXON and the current VMCS12 of the L1 hypervisor."""

    format = 0
    source = "vmx_set_nested_state (vmx/nested.c)"

    vmxon_pa = INVALID_GPA
    vmcs12_pa = INVALID_GPA
    smm_flags = 0
    vmcs12 = b""
    #: Hyper-V's VMCS is in place of one by address (EVMPTR_MAP_PENDING, from 5.14 on).
    is_evmcs = False
    mtf_pending = False
    #: hdr.vmx.preemption_timer_deadline, and None without one.
    deadline: int | None = None

    @property
    def is_on(self) -> bool:
        """vmx->nested.vmxon."""
        return self.vmxon_pa != INVALID_GPA and not self.smm_flags

    @property
    def blocks_init(self) -> bool:
        """vmx_apic_init_signal_blocked: VMX root mode."""
        return self.is_on and not self.vcpu.is_guest_mode

    def leave(self) -> None:
        """vmx_leave_nested, free_nested: VMX is off."""
        super().leave()
        self.vmxon_pa = self.vmcs12_pa = INVALID_GPA
        self.smm_flags = 0
        self.is_evmcs = False

    def saved(self) -> tuple[int, bytes, bytes]:
        """vmx_get_nested_state; what waits, and the timer, are told of a nested guest alone."""
        flags, vmx_flags, deadline = EVMCS * self.is_evmcs, 0, 0
        if self.vcpu.is_guest_mode:
            flags |= GUEST_MODE | RUN_PENDING * self.run_pending | MTF_PENDING * self.mtf_pending
            if self.deadline is not None and self._pin_controls & _PIN_TIMER:
                vmx_flags, deadline = _DEADLINE, self.deadline
        header = _HEADER.pack(self.vmxon_pa, self.vmcs12_pa, self.smm_flags, 0, vmx_flags, deadline)
        return flags, header, self.vmcs12 if self.is_evmcs or self.vmcs12_pa != INVALID_GPA else b""

    @property
    def _pin_controls(self) -> int:
        return int.from_bytes(self.vmcs12[_PIN_CONTROLS : _PIN_CONTROLS + 4], "little")

    def restore(self, rule: Rule, flags: int, size: int, image: bytes) -> Outcome:
        """vmx_set_nested_state: VMX is left before the VMCS12 is looked at, and VMXON stays when that fails."""
        vmxon, vmcs12, smm, _, vmx_flags, deadline = _HEADER.unpack_from(image, 8)
        held = self._check_addresses(rule, flags, vmxon, vmcs12, smm) and self._check_flags(rule, flags, smm, vmx_flags)
        if not held:
            return rule.refuse(errno.EINVAL)
        self.leave()
        if vmxon == INVALID_GPA:
            return rule.ok()
        self.vmxon_pa = vmxon
        if size < HEADER_SIZE_BYTES + VMCS12_SIZE_BYTES:
            alone = not flags & (GUEST_MODE | EVMCS) and vmcs12 == INVALID_GPA
            return rule.ok() if rule.check("a VMCS12 follows the header", alone) else rule.refuse(errno.EINVAL)
        is_evmcs = vmcs12 == INVALID_GPA and bool(flags & EVMCS)
        valid = is_evmcs or (vmcs12 != vmxon and self.page_address_valid(vmcs12))
        if not rule.check("the VMCS12's address is another page of the guest's", valid):
            return rule.refuse(errno.EINVAL)
        self.vmcs12_pa, self.smm_flags = vmcs12, smm
        self.is_evmcs = is_evmcs and self.vcpu.kvm.since(5, 14)
        self.deadline = deadline if vmx_flags & _DEADLINE else None
        data = image[HEADER_SIZE_BYTES : HEADER_SIZE_BYTES + VMCS12_SIZE_BYTES].ljust(VMCS12_SIZE_BYTES, b"\0")
        return self._take_vmcs12(rule, flags, data)

    def _take_vmcs12(self, rule: Rule, flags: int, data: bytes) -> Outcome:
        self.vmcs12 = data
        revision = int.from_bytes(data[:4], "little")
        if not rule.check(f"the VMCS12's revision is KVM's ({VMCS12_REVISION:#x})", revision == VMCS12_REVISION):
            return rule.refuse(errno.EINVAL)
        if not flags & GUEST_MODE:
            return rule.ok()
        has_ones = self._pin_controls & _PIN_ONES == _PIN_ONES
        if not rule.check("the VMCS12's pin-based controls have their ones", has_ones):
            return rule.refuse(errno.EINVAL)
        self.vcpu.is_guest_mode = True
        self.run_pending, self.mtf_pending = bool(flags & RUN_PENDING), bool(flags & MTF_PENDING)
        return rule.ok()

    def _check_addresses(self, rule: Rule, flags: int, vmxon: int, vmcs12: int, smm: int) -> bool:
        if vmxon == INVALID_GPA:
            return (
                rule.check("without VMXON no SMM flags", not smm)
                and rule.check("without VMXON no VMCS12", vmcs12 == INVALID_GPA)
                and rule.check("without VMXON no flags but EVMCS", not flags & ~EVMCS)
            )
        return rule.check("the guest's CPUID has VMX, and KVM nests", self._has_vmx) and rule.check(
            "VMXON's address is a page of the guest's", self.page_address_valid(vmxon)
        )

    @property
    def _has_vmx(self) -> bool:
        return self.vcpu.kvm.nests and self.vcpu.guest.has("VMX")

    def _check_flags(self, rule: Rule, flags: int, smm: int, vmx_flags: int) -> bool:
        in_smm = self.vcpu.is_smm
        blocked = flags & (GUEST_MODE | RUN_PENDING) if in_smm else smm
        return (
            rule.check("not in guest mode in SMM and outside", not (smm & SMM_GUEST_MODE and flags & GUEST_MODE))
            and rule.check("no SMM flags but two", not smm & ~(SMM_GUEST_MODE | SMM_VMXON))
            and rule.check("no VMX flags but the preemption timer's deadline", not vmx_flags & ~_DEADLINE)
            and rule.check("no guest mode in SMM, no SMM flags outside" if in_smm else "no SMM flags", not blocked)
            and rule.check("guest mode in SMM has VMXON in SMM", smm & SMM_VMXON or not smm & SMM_GUEST_MODE)
            and rule.check("Hyper-V's VMCS is turned on", not flags & EVMCS or self._has_evmcs)
        )

    @property
    def _has_evmcs(self) -> bool:
        """KVM_CAP_HYPERV_ENLIGHTENED_VMCS."""
        return self._has_vmx and 163 in self.vcpu.caps
