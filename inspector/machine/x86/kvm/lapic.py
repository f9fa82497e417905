"""The local APIC: KVM_GET_LAPIC and KVM_SET_LAPIC, and what a write of IA32_APIC_BASE changes in it.

Source: Linux arch/x86/kvm/lapic.c (kvm_apic_state_fixup, kvm_apic_set_state, kvm_apic_get_state, kvm_lapic_reset,
kvm_lapic_set_base, kvm_apic_set_version, __apic_update_ppr, apic_update_lvtt).
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import Outcome, Rule
from layouts.light import TYPE_CHECKING
from layouts.x86.vcpu_rules import vcpu_rules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.state import VcpuState

#: struct kvm_lapic_state, the first part of the register page.
SIZE_BYTES = 0x400
#: KVM_CAP_X2APIC_API: args[0] bit 0 is KVM_X2APIC_API_USE_32BIT_IDS.
CAP_X2APIC_API, USE_32BIT_IDS = 129, 1
#: IA32_APIC_BASE.
ENABLED, X2APIC = 0x800, 0x400
# Registers by offset (SDM vol. 3, table 11-1).
TSC_DEADLINE = 0x6E0
ID, VERSION, TPR, PPR, LDR, DFR, SPIV = 0x20, 0x30, 0x80, 0xA0, 0xD0, 0xE0, 0xF0
ISR, TMR, IRR, ESR, ICR, ICR2 = 0x100, 0x180, 0x200, 0x280, 0x300, 0x310
LVT_CMCI, LVT_TIMER, LVT_LINT0, TIMER_INITIAL, TIMER_CURRENT, TIMER_DIVIDE = 0x2F0, 0x320, 0x350, 0x380, 0x390, 0x3E0
_LVT_MASKED, _EXTINT = 0x10000, 0x700
_VERSION_NUMBER, _LVT_ENTRIES = 0x14, 6
_DIRECTED_EOI = 1 << 24
_QUIRK_LINT0_REENABLED = 1
#: Timer modes in LVT_TIMER: periodic, TSC deadline; the second where the guest has TSC_DEADLINE_TIMER.
_PERIODIC, _DEADLINE, _MODES = 1 << 17, 2 << 17, 3 << 17
_MCG_CMCI = 1 << 10


def x2apic_ldr(x2apic_id: int) -> int:
    """kvm_apic_calc_x2apic_ldr: the cluster, and one bit in it."""
    return (x2apic_id >> 4 << 16 | 1 << (x2apic_id & 0xF)) & 0xFFFFFFFF


class Lapic:
    """The registers of one vCPU's local APIC in KVM."""

    def __init__(self, vcpu: VcpuState) -> None:
        self.vcpu = vcpu
        self.rules = vcpu_rules(vcpu.kvm.kernel.name)
        self.regs = bytearray(SIZE_BYTES)
        self._has_isr = False
        self._timer_mode = 0
        self.reset()

    def read(self, offset: int, size: int = 4) -> int:
        """A register of the page."""
        return int.from_bytes(self.regs[offset : offset + size], "little")

    def write(self, offset: int, value: int, size: int = 4) -> None:
        """Put a register in the page."""
        self.regs[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    @property
    def is_x2apic(self) -> bool:
        """apic_x2apic_mode."""
        return bool(self.vcpu.apic_base & X2APIC)

    @property
    def long_ids(self) -> bool:
        """The VM's x2APIC format (KVM_X2APIC_API_USE_32BIT_IDS)."""
        return bool(self.vcpu.vm.caps.get(CAP_X2APIC_API, 0) & USE_32BIT_IDS)

    @property
    def icr_is_whole(self) -> bool:
        """ICR and ICR2 are one register of 64 bits (not x2apic_icr_is_split)."""
        return self.rules.x2apic_icr == "all" or (self.rules.x2apic_icr == "vmx" and self.vcpu.kvm.is_vmx)

    def reset(self, *, init_event: bool = False) -> None:
        """kvm_lapic_reset."""
        if not init_event:
            self.write(ID, self.vcpu.vcpu_id << 24)
        self.set_version()
        for entry in range(self.lvt_entries):
            self.write(LVT_CMCI if entry == _LVT_ENTRIES else LVT_TIMER + 0x10 * entry, _LVT_MASKED)
        self._update_timer_mode()
        if self.vcpu.is_bsp and self.vcpu.has_quirk(_QUIRK_LINT0_REENABLED):
            self.write(LVT_LINT0, _EXTINT)
        self.write(DFR, 0xFFFFFFFF)
        self.write(SPIV, 0xFF)
        self.write(TPR, 0)
        if not self.is_x2apic:
            self.write(LDR, 0)
        for offset in (ESR, ICR, ICR2, TIMER_DIVIDE, TIMER_INITIAL):
            self.write(offset, 0)
        for word in range(8):
            for offset in (ISR, TMR, IRR):
                self.write(offset + 0x10 * word, 0)
        self._has_isr = self.vcpu.kvm.has_apicv
        self._update_ppr()

    @property
    def lvt_entries(self) -> int:
        """kvm_apic_calc_nr_lvt_entries (from 6.0 on): one more with MCG_CMCI_P."""
        return _LVT_ENTRIES + bool(self.vcpu.kvm.since(6, 0) and self.vcpu.mcg_cap & _MCG_CMCI)

    def set_version(self) -> None:
        """kvm_apic_set_version: also after KVM_SET_CPUID2. With an I/O APIC in KVM there is no directed EOI."""
        version = _VERSION_NUMBER | (self.lvt_entries - 1) << 16
        if self.vcpu.guest.has("X2APIC") and self.vcpu.vm.irqchip != 1:
            version |= _DIRECTED_EOI
        self.write(VERSION, version)

    def after_cpuid(self) -> None:
        """kvm_vcpu_after_set_cpuid."""
        self.set_version()

    def after_mcg_cap(self) -> None:
        """kvm_apic_after_set_mcg_cap (from 6.0 on): another LVT entry is there from then on."""
        if self.vcpu.kvm.since(6, 0):
            if self.vcpu.mcg_cap & _MCG_CMCI:
                self.write(LVT_CMCI, _LVT_MASKED)
            self.set_version()

    def base_changed(self, before: int, value: int) -> None:
        """__kvm_apic_set_base: IA32_APIC_BASE was ``before`` and is ``value``."""
        changed = before ^ value
        if changed & ENABLED and value & ENABLED:
            self.write(ID, self.vcpu.vcpu_id << 24)
        if changed & X2APIC and value & X2APIC:
            self.write(ID, self.vcpu.vcpu_id)
            self.write(LDR, x2apic_ldr(self.vcpu.vcpu_id))
        elif changed & X2APIC and value & ENABLED and self.rules.xapic_id_again:
            self.write(ID, self.vcpu.vcpu_id << 24)

    def set_tpr(self, cr8: int) -> None:
        """kvm_lapic_set_tpr: CR8 is the task priority's class."""
        self.write(TPR, (cr8 & 0xF) << 4)
        self._update_ppr()

    def put_tpr(self, priority: int) -> None:
        """apic_set_tpr: all eight bits."""
        self.write(TPR, priority)
        self._update_ppr()

    def put_lvt_timer(self, value: int) -> None:
        """kvm_lapic_reg_write of LVT_TIMER: the modes that the guest's CPUID has."""
        deadline = self.vcpu.guest.in_table("TSC_DEADLINE_TIMER")
        self.write(LVT_TIMER, value & ~(0 if deadline else _DEADLINE))
        self._update_timer_mode()

    @property
    def is_deadline(self) -> bool:
        """apic_lvtt_tscdeadline."""
        return self._timer_mode == _DEADLINE

    def get(self) -> bytes:
        """KVM_GET_LAPIC: 1024 bytes. The current count of a timer that runs is not told here."""
        found = bytearray(self.regs)
        if self.is_x2apic:
            if not self.long_ids:
                shown = self.vcpu.vcpu_id if self.rules.x2apic_id_is_fixed else self.read(ID)
                found[ID : ID + 4] = (shown << 24 & 0xFFFFFFFF).to_bytes(4, "little")
            if self.icr_is_whole:
                found[ICR2 : ICR2 + 4] = found[ICR + 4 : ICR + 8]
        return bytes(found)

    def set(self, image: bytes) -> Outcome:
        """KVM_SET_LAPIC: the spurious vector is taken before the one check."""
        rule = Rule("kvm_vcpu_ioctl_set_lapic (x86.c), kvm_apic_set_state, kvm_apic_state_fixup (lapic.c)")
        self.write(SPIV, int.from_bytes(image[SPIV : SPIV + 4], "little"))
        state = bytearray(image[:SIZE_BYTES])
        if self.is_x2apic and not self._fix_up(rule, state):
            return rule.refuse(errno.EINVAL)
        self.regs = state
        self.set_version()
        self._update_ppr()
        self._update_timer_mode()
        if self.rules.tmcct_is_cleared:
            self.write(TIMER_CURRENT, 0)
        self._has_isr = self.vcpu.kvm.has_apicv or any(self.regs[ISR : ISR + 0x80])
        return rule.ok()

    def _fix_up(self, rule: Rule, state: bytearray) -> bool:
        """kvm_apic_state_fixup in x2APIC mode: ID, LDR and ICR as KVM keeps them."""
        given = int.from_bytes(state[ID : ID + 4], "little")
        x2apic_id = self.vcpu.vcpu_id
        if self.long_ids:
            if not rule.check(f"with 32-bit IDs the ID is the vCPU's ({x2apic_id})", given == x2apic_id):
                return False
        elif not self.rules.x2apic_id_is_fixed:
            x2apic_id = given >> 24
        state[ID : ID + 4] = x2apic_id.to_bytes(4, "little")
        state[LDR : LDR + 4] = x2apic_ldr(x2apic_id).to_bytes(4, "little")
        if self.icr_is_whole:
            state[ICR + 4 : ICR + 8] = state[ICR2 : ICR2 + 4]
        return True

    def _update_ppr(self) -> None:
        """__apic_update_ppr: TPR, or the class of the highest interrupt in service that KVM knows of."""
        task, in_service = self.read(TPR), 0
        if self._has_isr:
            for number in range(7, -1, -1):
                vectors = self.read(ISR + 0x10 * number)
                if vectors:
                    in_service = 32 * number + vectors.bit_length() - 1
                    break
        self.write(PPR, task & 0xFF if task & 0xF0 >= in_service & 0xF0 else in_service & 0xF0)

    def _update_timer_mode(self) -> None:
        """apic_update_lvtt: to or from the TSC deadline the initial count is lost, and the deadline."""
        mask = _MODES if self.vcpu.guest.in_table("TSC_DEADLINE_TIMER") else _PERIODIC
        mode = self.read(LVT_TIMER) & mask
        if (mode == _DEADLINE) != (self._timer_mode == _DEADLINE):
            self.write(TIMER_INITIAL, 0)
            self.vcpu.msrs.pop(TSC_DEADLINE, None)
        self._timer_mode = mode
