"""The local APIC through MSRs: APIC_BASE, the x2APIC range, the deadline timer.

Source: Linux arch/x86/kvm/lapic.c, kvm_apic_set_base (before 6.12 kvm_set_apic_base in x86.c), kvm_x2apic_msr_write,
kvm_lapic_reg_write.
"""

from __future__ import annotations

from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm.lapic import TSC_DEADLINE
from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import U32
from inspector.machine.x86.kvm.sregs import set_apic_base
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.lapic import Lapic
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

APIC_BASE = 0x1B
ENABLED, X2APIC = 1 << 11, 1 << 10
#: Register numbers: the offset in the page, divided by 16.
ID, VERSION, TPR, PPR, EOI, LDR, DFR, SPIV = 0x02, 0x03, 0x08, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F
ESR, CMCI, ICR, ICR2, LVT_TIMER, LVT_ERROR = 0x28, 0x2F, 0x30, 0x31, 0x32, 0x37
TMICT, TMCCT, TDCR, SELF_IPI = 0x38, 0x39, 0x3E, 0x3F
_LVTS = range(LVT_TIMER + 1, LVT_ERROR + 1)
_READABLE = frozenset(
    (ID, VERSION, TPR, PPR, LDR, SPIV, *range(0x10, 0x28), ESR, ICR, *range(0x32, 0x38), TMICT, TMCCT, TDCR)
)
_WRITABLE = frozenset((TPR, EOI, SPIV, ESR, LVT_TIMER, *_LVTS, TMICT, TDCR, SELF_IPI))
_ICR_RESERVED = 0xFFF00000 | 0x30000 | 0x2000
_ICR_BUSY = 1 << 12
_LVT_MASKED, _LVT, _MODE, _LINT = 0x10000, 0x110FF, 0x700, 0xE000
#: apic_lvt_mask: vector, pending and mask; the timer's modes, delivery modes, and the pins of LINT0 and LINT1.
_LVT_BITS = {
    CMCI: _LVT | _MODE,
    LVT_TIMER: _LVT | 3 << 17,
    0x33: _LVT | _MODE,
    0x34: _LVT | _MODE,
    0x35: _LVT | _MODE | _LINT,
    0x36: _LVT | _MODE | _LINT,
    LVT_ERROR: _LVT,
}
_TDCR_BITS, _SPIV_BITS, _SPIV_DIRECTED_EOI, _SPIV_ENABLED, _DIRECTED_EOI = 0xB, 0x3FF, 1 << 12, 1 << 8, 1 << 24
_BASE_SOURCE = "kvm_apic_set_base (lapic.c)"
_SOURCE = "kvm_x2apic_msr_write, kvm_lapic_reg_write (lapic.c)"

_NO_LAPIC = Refusal("the local APIC is in the kernel")
_NO_X2APIC = Refusal("the local APIC is in the kernel, and in x2APIC mode")
_NO_REGISTER = Refusal("the register of {index:#x} is there, in x2APIC mode, for this access")
_HIGH = Refusal("bits 63:32 of {value:#x} are 0")
_ICR = Refusal("ICR's reserved bits ({allowed:#x}) are 0 in {value:#x}", _ICR_RESERVED)
_ESR = Refusal("ESR takes 0")
_VECTOR = Refusal("{value:#x} is a vector: bits 31:8 are 0")


def _write_base(vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
    rule = Rule(_BASE_SOURCE)
    return None if set_apic_base(vcpu, rule, value) else Refusal(rule.checks[-1].text)


def _read_base(vcpu: WholeVcpu, _index: int) -> int:
    return vcpu.apic_base


def register(lapic: Lapic, number: int) -> int:
    """A register of the local APIC; ICR has 64 bits."""
    if number != ICR:
        return lapic.read(number << 4)
    return lapic.read(ICR << 4, 8) if lapic.icr_is_whole else lapic.read(ICR << 4) | lapic.read(ICR2 << 4) << 32


def write_icr(vcpu: WholeVcpu, lapic: Lapic, value: int) -> Refusal | None:
    """kvm_x2apic_icr_write; before 5.18 both halves were written without a check."""
    rules = vcpu.kvm.msr_rules
    if rules.icr_reserved and value & _ICR_RESERVED:
        return _ICR
    if not rules.icr_is_whole and not vcpu.apic_base & X2APIC:
        # Its upper half goes through ICR2, of which the xAPIC has the destination alone.
        value &= 0xFF000000_FFFFFFFF
    value &= ~_ICR_BUSY
    if lapic.icr_is_whole:
        lapic.write(ICR << 4, value, 8)
    else:
        lapic.write(ICR << 4, value)
        lapic.write(ICR2 << 4, value >> 32)
    return None


def write_register(vcpu: WholeVcpu, number: int, value: int) -> Refusal | None:
    """kvm_lapic_msr_write: ICR has 64 bits, others 32. In xAPIC mode Hyper-V's EOI, ICR and TPR alone come here."""
    lapic = vcpu.lapic
    if lapic is None:
        return _NO_LAPIC
    if number == ICR:
        return write_icr(vcpu, lapic, value)
    if vcpu.kvm.msr_rules.icr_is_whole and value > U32:
        return _HIGH
    value &= U32
    if number not in _WRITABLE and not _is_cmci(lapic, number):
        return _NO_REGISTER
    if number == ESR:
        return _ESR if value else None
    if number == SELF_IPI:
        return _VECTOR if value & ~0xFF else None
    _keep(lapic, number, value)
    return None


def _is_cmci(lapic: Lapic, number: int) -> bool:
    """kvm_lapic_lvt_supported: MCG_CAP has CMCI, and so the APIC an entry for it."""
    return number == CMCI and lapic.lvt_entries > 6


def _keep(lapic: Lapic, number: int, value: int) -> None:
    """kvm_lapic_reg_write: the bits that a register has."""
    if number in _LVT_BITS:
        _keep_lvt(lapic, number, value)
    elif number == TPR:
        lapic.put_tpr(value & 0xFF)
    elif number == SPIV:
        has_directed_eoi = lapic.read(VERSION << 4) & _DIRECTED_EOI
        lapic.write(SPIV << 4, value & (_SPIV_BITS | (_SPIV_DIRECTED_EOI if has_directed_eoi else 0)))
        if not value & _SPIV_ENABLED:
            for entry in (*_LVTS, LVT_TIMER, *((CMCI,) if _is_cmci(lapic, CMCI) else ())):
                lapic.write(entry << 4, lapic.read(entry << 4) | _LVT_MASKED)
    elif number == TDCR:
        lapic.write(TDCR << 4, value & _TDCR_BITS)
    elif number == TMICT and not lapic.is_deadline:
        lapic.write(TMICT << 4, value)


def _keep_lvt(lapic: Lapic, number: int, value: int) -> None:
    """While the APIC is off by software its LVTs are masked."""
    masked = 0 if lapic.read(SPIV << 4) & _SPIV_ENABLED else _LVT_MASKED
    value = (value | masked) & _LVT_BITS[number]
    if number == LVT_TIMER:
        lapic.put_lvt_timer(value)
    else:
        lapic.write(number << 4, value)


def _write_x2apic(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if vcpu.lapic is None or not vcpu.apic_base & X2APIC:
        return _NO_X2APIC
    return write_register(vcpu, index - 0x800, value)


def _read_x2apic(vcpu: WholeVcpu, index: int) -> int | Refusal:
    lapic, number = vcpu.lapic, index - 0x800
    if lapic is None or not vcpu.apic_base & X2APIC:
        return _NO_X2APIC
    return register(lapic, number) if number in _READABLE or _is_cmci(lapic, number) else _NO_REGISTER


def _counts_deadline(vcpu: WholeVcpu) -> bool:
    """The APIC is enabled, and its timer in deadline mode (apic_lvtt_tscdeadline)."""
    return vcpu.lapic is not None and bool(vcpu.apic_base & ENABLED) and vcpu.lapic.is_deadline


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
