"""KVM's own MSRs: clocks, asynchronous page faults, steal time, EOI, poll control.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), kvm_set_msr_common, kvm_pv_enable_async_pf; lapic.c,
kvm_lapic_set_pv_eoi; cpuid.h, guest_pv_has.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import COMMON, is_memory
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

WALL_CLOCK, SYSTEM_TIME = 0x11, 0x12
WALL_CLOCK_NEW, SYSTEM_TIME_NEW = 0x4B564D00, 0x4B564D01
ASYNC_PF_EN, STEAL_TIME, PV_EOI_EN, POLL_CONTROL = 0x4B564D02, 0x4B564D03, 0x4B564D04, 0x4B564D05
ASYNC_PF_INT, ASYNC_PF_ACK = 0x4B564D06, 0x4B564D07
#: KVM_CAP_ENFORCE_PV_FEATURE_CPUID.
ENFORCE_PV_CPUID = 190
#: KVM_FEATURE_*: the bits of CPUID(0x40000001).EAX that MSRs stand for.
_FEATURE = {
    WALL_CLOCK: 0,
    SYSTEM_TIME: 0,
    WALL_CLOCK_NEW: 3,
    SYSTEM_TIME_NEW: 3,
    ASYNC_PF_EN: 4,
    STEAL_TIME: 5,
    PV_EOI_EN: 6,
    POLL_CONTROL: 12,
    ASYNC_PF_INT: 14,
    ASYNC_PF_ACK: 14,
}
_PF_VMEXIT_FEATURE, _PF_INT_FEATURE = 10, 14
_ENABLED, _PF_AS_VMEXIT, _PF_AS_INT = 1, 1 << 2, 1 << 3
_STEAL_RESERVED = 0x3E

_HIDDEN = Refusal(
    "the guest's CPUID has KVM's feature of {index:#x}, as the VMM enforces it (KVM_CAP_ENFORCE_PV_FEATURE_CPUID)"
)
_PF_RESERVED = Refusal("bits 5:4 are 0 in {value:#x}")
_PF_VMEXIT = Refusal("the guest's CPUID has ASYNC_PF_VMEXIT")
_PF_INT = Refusal("the guest's CPUID has ASYNC_PF_INT")
_NO_LAPIC = Refusal("the local APIC is in the kernel")
_NO_MEMORY = Refusal("the address in {value:#x} is in the guest's memory")
_VECTOR = Refusal("{value:#x} is a vector: bits 63:8 are 0")
_STEAL = Refusal("bits 5:1 are 0 in {value:#x}")
_ALIGNED = Refusal("the address in {value:#x} is a multiple of 4")
_POLL = Refusal("only bit 0 is set in {value:#x}")


def has_feature(vcpu: WholeVcpu, feature: int) -> bool:
    """guest_pv_has: everything, unless the VMM enforces CPUID."""
    return not vcpu.caps.get(ENFORCE_PV_CPUID) or bool(vcpu.pv_features >> feature & 1)


def _hidden(vcpu: WholeVcpu, index: int) -> Refusal | None:
    if has_feature(vcpu, _FEATURE[index]):
        return None
    return _HIDDEN._replace(unsupported=vcpu.kvm.msr_rules.pv_is_unsupported)


def _kept_as(slot: int) -> MsrRule:
    """Both numbers of a clock are one value."""

    def write(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
        refusal = _hidden(vcpu, index)
        if refusal is None:
            vcpu.msrs[slot] = value
        return refusal

    def read(vcpu: WholeVcpu, index: int) -> int | Refusal:
        return _hidden(vcpu, index) or vcpu.msrs.get(slot, 0)

    return MsrRule(write, read, "kvm_write_wall_clock, kvm_write_system_time (x86.c)")


def _read(vcpu: WholeVcpu, index: int) -> int | Refusal:
    return _hidden(vcpu, index) or vcpu.msrs.get(index, 1 if index == POLL_CONTROL else 0)


def _write_async_pf(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    refusal = _hidden(vcpu, index)
    if refusal is not None:
        return refusal
    if value & 0x30:
        return _PF_RESERVED
    if value & _PF_AS_VMEXIT and not has_feature(vcpu, _PF_VMEXIT_FEATURE):
        return _PF_VMEXIT
    if value & _PF_AS_INT and not has_feature(vcpu, _PF_INT_FEATURE):
        return _PF_INT
    if not vcpu.vm.has_lapic:
        return _NO_LAPIC if value else None
    enabled = value & (_ENABLED | _PF_AS_INT) == _ENABLED | _PF_AS_INT
    held = not enabled or is_memory(vcpu, value & ~0x3F, 8)
    if held or vcpu.kvm.msr_rules.pv_stores_first:
        vcpu.msrs[index] = value
    return None if held else _NO_MEMORY


def _write_async_pf_int(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    refusal = _hidden(vcpu, index)
    if refusal is not None:
        return refusal
    if value >> 8:
        return _VECTOR
    if not vcpu.vm.has_lapic:
        return _NO_LAPIC
    vcpu.msrs[index] = value
    return None


def _write_async_pf_ack(vcpu: WholeVcpu, index: int, _value: int) -> Refusal | None:
    return _hidden(vcpu, index)


def _write_steal_time(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    refusal = _hidden(vcpu, index)
    if refusal is not None:
        return refusal
    if value & _STEAL_RESERVED:
        return _STEAL
    vcpu.msrs[index] = value
    return None


def set_pv_eoi(vcpu: WholeVcpu, value: int, size_bytes: int) -> Refusal | None:
    """kvm_lapic_set_pv_eoi."""
    address = value & ~_ENABLED
    if address & 3:
        return _ALIGNED
    held = not value & _ENABLED or is_memory(vcpu, address, size_bytes)
    if held or vcpu.kvm.msr_rules.pv_stores_first:
        vcpu.msrs[PV_EOI_EN] = value
    return None if held else _NO_MEMORY


def _write_pv_eoi(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    return _hidden(vcpu, index) or set_pv_eoi(vcpu, value, 1)


def _write_poll_control(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    refusal = _hidden(vcpu, index)
    if refusal is not None:
        return refusal
    if value & ~1:
        return _POLL
    vcpu.msrs[index] = value
    return None


def rules(_kvm: Kvm, _rules: MsrRules) -> dict[int, MsrRule]:
    """KVM's paravirtual MSRs."""
    wall_clock, system_time = _kept_as(WALL_CLOCK), _kept_as(SYSTEM_TIME)
    return {
        WALL_CLOCK: wall_clock,
        WALL_CLOCK_NEW: wall_clock,
        SYSTEM_TIME: system_time,
        SYSTEM_TIME_NEW: system_time,
        ASYNC_PF_EN: MsrRule(_write_async_pf, _read, "kvm_pv_enable_async_pf (x86.c)"),
        ASYNC_PF_INT: MsrRule(_write_async_pf_int, _read, "kvm_pv_enable_async_pf_int (x86.c)"),
        ASYNC_PF_ACK: MsrRule(_write_async_pf_ack, _read, COMMON),
        STEAL_TIME: MsrRule(_write_steal_time, _read, COMMON),
        PV_EOI_EN: MsrRule(_write_pv_eoi, _read, "kvm_lapic_set_pv_eoi (lapic.c)"),
        POLL_CONTROL: MsrRule(_write_poll_control, _read, COMMON),
    }
