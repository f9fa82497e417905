"""The local APIC through MSRs: APIC_BASE, the x2APIC range, the deadline timer.

Source: Linux arch/x86/kvm/lapic.c, kvm_apic_set_base (before 6.12 kvm_set_apic_base in x86.c), kvm_x2apic_msr_write,
kvm_lapic_reg_write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm.msrs.access import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import U32
from inspector.machine.x86.kvm.sregs import set_apic_base
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

APIC_BASE, TSC_DEADLINE = 0x1B, 0x6E0
ENABLED, X2APIC = 1 << 11, 1 << 10
#: Register numbers: the offset in the page, divided by 16.
ID, VERSION, TPR, PPR, EOI, LDR, DFR, SPIV = 0x02, 0x03, 0x08, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F
ESR, CMCI, ICR, ICR2, LVT_TIMER, LVT_ERROR = 0x28, 0x2F, 0x30, 0x31, 0x32, 0x37
TMICT, TMCCT, TDCR, SELF_IPI = 0x38, 0x39, 0x3E, 0x3F
_LVTS = range(LVT_TIMER + 1, LVT_ERROR + 1)
_READABLE = frozenset(
    (ID, VERSION, TPR, PPR, LDR, SPIV, *range(0x10, 0x28), ESR, ICR, *range(0x32, 0x38), TMICT, TMCCT, TDCR)
)
#: DFR before 6.12; ICR2 before 5.18 is asked elsewhere.
_WRITABLE = frozenset((TPR, EOI, SPIV, ESR, ICR, LVT_TIMER, *_LVTS, TMICT, TDCR, SELF_IPI))
_ICR_RESERVED = 0xFFF00000 | 0x30000 | 0x2000
_ICR_BUSY = 1 << 12
_DEADLINE_MODE = 2 << 17
_BASE_SOURCE = "kvm_apic_set_base (lapic.c)"
_SOURCE = "kvm_x2apic_msr_write, kvm_lapic_reg_write (lapic.c)"

_NO_X2APIC = Refusal("the local APIC is in the kernel, and in x2APIC mode")
_NO_REGISTER = Refusal("the register of {index} is there, in x2APIC mode, for this access")
_HIGH = Refusal("bits 63:32 of {value} are 0")
_ICR = Refusal("ICR's reserved bits ({allowed}) are 0 in {value}", _ICR_RESERVED)
_ESR = Refusal("ESR takes 0")
_VECTOR = Refusal("{value} is a vector: bits 31:8 are 0")


def _write_base(vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
    rule = Rule(_BASE_SOURCE)
    return None if set_apic_base(vcpu, rule, value) else Refusal(rule.checks[-1].text)


def _read_base(vcpu: WholeVcpu, _index: int) -> int:
    return vcpu.apic_base


def register(vcpu: WholeVcpu, number: int) -> int:
    """A register of the local APIC; ICR has 64 bits."""
    return vcpu.msrs.get(0x800 + number, 0)


def put_register(vcpu: WholeVcpu, number: int, value: int) -> None:
    """Keep a register."""
    vcpu.msrs[0x800 + number] = value


def write_icr(vcpu: WholeVcpu, value: int) -> Refusal | None:
    """kvm_x2apic_icr_write; before 5.18 both halves were written without a check."""
    rules = vcpu.kvm.msr_rules
    if rules.icr_reserved and value & _ICR_RESERVED:
        return _ICR
    if not rules.icr_is_whole and not vcpu.apic_base & X2APIC:
        # Its upper half goes through ICR2, of which the xAPIC has the destination alone.
        value &= 0xFF000000_FFFFFFFF
    put_register(vcpu, ICR, value & ~_ICR_BUSY)
    return None


def write_register(vcpu: WholeVcpu, number: int, value: int) -> Refusal | None:
    """kvm_lapic_msr_write: ICR has 64 bits, others 32."""
    if number == ICR:
        return write_icr(vcpu, value)
    if vcpu.kvm.msr_rules.icr_is_whole and value > U32:
        return _HIGH
    value &= U32
    if number not in _WRITABLE:
        return _NO_REGISTER
    if number == ESR:
        return _ESR if value else None
    if number == SELF_IPI:
        return _VECTOR if value & ~0xFF else None
    if number == TPR:
        put_register(vcpu, TPR, value & 0xFF)
    elif number != EOI:
        put_register(vcpu, number, value)
    return None


def _write_x2apic(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not vcpu.vm.has_lapic or not vcpu.apic_base & X2APIC:
        return _NO_X2APIC
    return write_register(vcpu, index - 0x800, value)


def _read_x2apic(vcpu: WholeVcpu, index: int) -> int | Refusal:
    if not vcpu.vm.has_lapic or not vcpu.apic_base & X2APIC:
        return _NO_X2APIC
    return register(vcpu, index - 0x800) if index - 0x800 in _READABLE else _NO_REGISTER


def _counts_deadline(vcpu: WholeVcpu) -> bool:
    """The APIC is enabled, and its timer in deadline mode."""
    return (
        vcpu.vm.has_lapic and bool(vcpu.apic_base & ENABLED) and register(vcpu, LVT_TIMER) & 3 << 17 == _DEADLINE_MODE
    )


def _write_deadline(vcpu: WholeVcpu, index: int, value: int) -> None:
    if _counts_deadline(vcpu):
        vcpu.msrs[index] = value


def _read_deadline(vcpu: WholeVcpu, index: int) -> int:
    return vcpu.msrs.get(index, 0) if _counts_deadline(vcpu) else 0


def rules(_kvm: Kvm, _rules: MsrRules) -> dict[int, MsrRule]:
    """The local APIC's MSRs."""
    return {
        APIC_BASE: MsrRule(_write_base, _read_base, _BASE_SOURCE),
        TSC_DEADLINE: MsrRule(_write_deadline, _read_deadline, "kvm_set_lapic_tscdeadline_msr (lapic.c)"),
        **{index: MsrRule(_write_x2apic, _read_x2apic, _SOURCE) for index in range(0x800, 0x900)},
    }
