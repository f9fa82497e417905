"""Events that wait for a vCPU: KVM_GET_VCPU_EVENTS and KVM_SET_VCPU_EVENTS.

Source: Linux arch/x86/kvm/x86.c (kvm_vcpu_ioctl_x86_set_vcpu_events, kvm_vcpu_ioctl_x86_get_vcpu_events, process_nmi),
svm/svm.c and vmx/vmx.c (set_interrupt_shadow).
"""

from __future__ import annotations

import errno
import struct

from inspector.machine.outcome import Outcome, Rule
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.vcpu_rules import vcpu_rules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.state import VcpuState

SIZE_BYTES = 64
VALID_NMI_PENDING, VALID_SIPI_VECTOR, VALID_SHADOW, VALID_SMM, VALID_PAYLOAD, VALID_TRIPLE_FAULT = (
    1 << bit for bit in range(6)
)
_NMI_VECTOR = 2
_LAST_EXCEPTION = 31
#: #BP and #OF: GET does not tell them, for the length of their instruction would be lost (kvm_exception_is_soft).
_SOFT = (3, 4)
_SHADOW_MOV_SS, _SHADOW_STI = 1, 2
_INIT_RECEIVED = 2
#: KVM_CAP_EXCEPTION_PAYLOAD, KVM_CAP_X86_TRIPLE_FAULT_EVENT.
CAP_EXCEPTION_PAYLOAD, CAP_TRIPLE_FAULT_EVENT = 164, 218
_FORM = struct.Struct("<4BI4B4BII4BB26xBQ")


class VcpuEvents(NamedTuple):
    """struct kvm_vcpu_events, field by field; what is reserved is left out."""

    injected: int = 0
    vector: int = 0
    has_error_code: int = 0
    pending: int = 0
    error_code: int = 0
    interrupt_injected: int = 0
    interrupt_vector: int = 0
    interrupt_soft: int = 0
    shadow: int = 0
    nmi_injected: int = 0
    nmi_pending: int = 0
    nmi_masked: int = 0
    nmi_pad: int = 0
    sipi_vector: int = 0
    flags: int = 0
    smm: int = 0
    smi_pending: int = 0
    smm_inside_nmi: int = 0
    latched_init: int = 0
    triple_fault: int = 0
    has_payload: int = 0
    payload: int = 0

    @classmethod
    def read(cls, image: bytes) -> VcpuEvents:
        """From its 64 bytes."""
        return cls(*_FORM.unpack_from(image))

    def image(self) -> bytes:
        """Its 64 bytes."""
        return _FORM.pack(*self)


class PendingEvents:
    """The events of one vCPU. Whether it is in SMM is the vCPU's own (``is_smm``)."""

    def __init__(self, vcpu: VcpuState) -> None:
        self.vcpu = vcpu
        self.rules = vcpu_rules(vcpu.kvm.kernel.name)
        self.init_pending = self.sipi_pending = False
        self.sipi_vector = 0
        self.reset()

    @property
    def has_payloads(self) -> bool:
        """KVM_CAP_EXCEPTION_PAYLOAD is on in the VM."""
        return bool(self.vcpu.vm.caps.get(CAP_EXCEPTION_PAYLOAD))

    @property
    def has_triple_fault(self) -> bool:
        """KVM_CAP_X86_TRIPLE_FAULT_EVENT is on in the VM."""
        return bool(self.vcpu.vm.caps.get(CAP_TRIPLE_FAULT_EVENT))

    def reset(self) -> None:
        """What kvm_vcpu_reset clears."""
        self.injected = self.pending = self.has_error_code = self.has_payload = False
        self.vector = self.error_code = self.payload = 0
        self.interrupt_injected = self.interrupt_soft = False
        self.interrupt_vector = self.shadow = 0
        self.nmi_injected = False
        self.nmi_masked = False
        self.nmi_pending = self.nmi_queued = 0
        self.smi_pending = self.smm_inside_nmi = self.triple_fault = False

    def _process_nmi(self) -> None:
        limit = 1 if self.nmi_masked or self.nmi_injected else 2
        self.nmi_pending = min(self.nmi_pending + self.nmi_queued, limit)
        self.nmi_queued = 0

    def get(self) -> bytes:
        """KVM_GET_VCPU_EVENTS."""
        self._process_nmi()
        told = self.vector not in _SOFT
        payload, triple = self.has_payloads, self.has_triple_fault
        pending = self.nmi_pending if self.rules.nmi_is_queued else int(self.nmi_pending != 0)
        return VcpuEvents(
            injected=told and (self.injected or (self.pending and not payload)),
            vector=self.vector,
            has_error_code=self.has_error_code,
            pending=told and self.pending,
            error_code=self.error_code,
            interrupt_injected=self.interrupt_injected and not self.interrupt_soft,
            interrupt_vector=self.interrupt_vector,
            shadow=self.shadow,
            nmi_injected=self.nmi_injected,
            nmi_pending=pending,
            nmi_masked=self.nmi_masked,
            flags=VALID_NMI_PENDING | VALID_SHADOW | VALID_SMM | payload * VALID_PAYLOAD | triple * VALID_TRIPLE_FAULT,
            smm=self.vcpu.is_smm,
            smi_pending=self.smi_pending,
            smm_inside_nmi=self.smm_inside_nmi,
            latched_init=self.init_pending,
            triple_fault=triple and self.triple_fault,
            has_payload=self.has_payload,
            payload=self.payload,
        ).image()

    def set(self, image: bytes) -> Outcome:
        """KVM_SET_VCPU_EVENTS. The triple fault is looked at last: what is before it has been taken by then."""
        rule = Rule("kvm_vcpu_ioctl_x86_set_vcpu_events (x86.c)")
        events = VcpuEvents.read(image)
        known = 0x3F if self.rules.events_triple_fault else 0x1F
        if not rule.check(f"no flags but {known:#x}", not events.flags & ~known):
            return rule.refuse(errno.EINVAL)
        if events.flags & VALID_PAYLOAD:
            if not rule.check("KVM_CAP_EXCEPTION_PAYLOAD is on", self.has_payloads):
                return rule.refuse(errno.EINVAL)
            # A pending exception is not an injected one; a payload belongs to a pending one.
            events = events._replace(injected=0) if events.pending else events._replace(has_payload=0)
        else:
            events = events._replace(pending=0, has_payload=0)
        if not self._vector_is_valid(rule, events) or not self._may_enter_smm(rule, events):
            return rule.refuse(errno.EINVAL)
        self._take(events)
        if events.flags & VALID_TRIPLE_FAULT:
            if not rule.check("KVM_CAP_X86_TRIPLE_FAULT_EVENT is on", self.has_triple_fault):
                return rule.refuse(errno.EINVAL)
            self.triple_fault = bool(events.triple_fault)
        return rule.ok()

    def _vector_is_valid(self, rule: Rule, events: VcpuEvents) -> bool:
        if not events.injected and not events.pending:
            return True
        return rule.check(
            "an exception's vector is 0 to 31, and not 2 (NMI)",
            events.vector <= _LAST_EXCEPTION and events.vector != _NMI_VECTOR,
        )

    def _may_enter_smm(self, rule: Rule, events: VcpuEvents) -> bool:
        if not (self.rules.events_init_wait and events.flags & VALID_SMM and (events.smm or events.smi_pending)):
            return True
        return rule.check(
            "no SMM and no SMI while the vCPU waits for SIPI (before 6.17)", self.vcpu.mp_state != _INIT_RECEIVED
        )

    def _take(self, events: VcpuEvents) -> None:
        """What is kept, in the kernel's order; its fields are bool where they are one bit here."""
        self._process_nmi()
        self.injected, self.pending = bool(events.injected), bool(events.pending)
        self.vector, self.error_code = events.vector, events.error_code
        self.has_error_code, self.has_payload = bool(events.has_error_code), bool(events.has_payload)
        self.payload = events.payload
        self.interrupt_injected, self.interrupt_soft = bool(events.interrupt_injected), bool(events.interrupt_soft)
        self.interrupt_vector = events.interrupt_vector
        if events.flags & VALID_SHADOW:
            self.shadow = self._shadow(events.shadow)
        self.nmi_injected = bool(events.nmi_injected)
        if events.flags & VALID_NMI_PENDING:
            queued = self.rules.nmi_is_queued
            self.nmi_pending, self.nmi_queued = (0, events.nmi_pending) if queued else (events.nmi_pending, 0)
        self.nmi_masked = bool(events.nmi_masked)
        if events.flags & VALID_SIPI_VECTOR and self.vcpu.vm.has_lapic:
            self.sipi_vector = events.sipi_vector & 0xFF
        if events.flags & VALID_SMM:
            self._take_smm(events)

    def _shadow(self, given: int) -> int:
        """svm_set_interrupt_shadow knows one shadow, which reads as both; vmx_set_interrupt_shadow takes one of two.

        pvm_set_interrupt_shadow keeps what is given, before the guest is in PVM mode.
        """
        if self.vcpu.kvm.is_pvm:
            return given
        if self.vcpu.kvm.is_vmx:
            return given & _SHADOW_MOV_SS or given & _SHADOW_STI
        return _SHADOW_MOV_SS | _SHADOW_STI if given else 0

    def _take_smm(self, events: VcpuEvents) -> None:
        if self.vcpu.is_smm != events.smm:
            self.vcpu.nested.leave()
            self.vcpu.is_smm = bool(events.smm)
            if not self.vcpu.is_smm and self.rules.leaving_smm_forgets_nmi:
                self.smm_inside_nmi = False
        self.smi_pending = bool(events.smi_pending)
        if events.smm:
            self.smm_inside_nmi = bool(events.smm_inside_nmi)
        if self.vcpu.vm.has_lapic:
            self.init_pending = bool(events.latched_init)
