"""MTRRs and PAT.

Source: Linux arch/x86/kvm/mtrr.c, kvm_mtrr_valid; kvm_pat_valid (x86.h).
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import ALL_ONES, read_only, read_stored, reader
from inspector.machine.x86.kvm.pat import PAT, PAT_RESET, valid_pat
from inspector.machine.x86.kvm.sregs import reserved_gpa_bits
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

MTRR_CAP, MTRR_DEF_TYPE = 0xFE, 0x2FF
_VARIABLE = range(0x200, 0x210)
_FIXED = (0x250, 0x258, 0x259, *range(0x268, 0x270))
#: MTRRcap: write combining, fixed ranges, eight variable ones.
_CAP = 0x508
_MTRR_TYPES = frozenset((0, 1, 4, 5, 6))
_SOURCE = "kvm_mtrr_set_msr, kvm_mtrr_valid (mtrr.c)"

_NO_RANGE = Refusal("KVM has the MTRR {index:#x}")
_TYPE = Refusal("each byte of {value:#x} is a memory type: 0, 1, 4, 5 or 6")
_BASE_TYPE = Refusal("the low byte of {value:#x} is a memory type: 0, 1, 4, 5 or 6")
_PAT_TYPE = Refusal("each byte of {value:#x} is a memory type of PAT: 0, 1, 4, 5, 6 or 7")
_DEF_TYPE = Refusal("only bits 0xcff are set in {value:#x}")
_RESERVED = Refusal("no bit of {allowed:#x} is set in {value:#x}: reserved, or beyond the guest's physical addresses")


def reserved_address_bits(vcpu: WholeVcpu) -> int:
    """kvm_vcpu_reserved_gpa_bits_raw: the bits beyond the guest's physical address width."""
    if vcpu.kvm.msr_rules.mtrr_shift_wraps:
        return ALL_ONES << (vcpu.guest.maxphyaddr & 63) & ALL_ONES
    return reserved_gpa_bits(vcpu)


def write_pat(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    """PAT: eight memory types."""
    if not valid_pat(value):
        return _PAT_TYPE
    vcpu.msrs[index] = value
    return None


def _write_fixed(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not _MTRR_TYPES.issuperset(value.to_bytes(8, "little")):
        return _TYPE
    vcpu.msrs[index] = value
    return None


def _write_default(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value & ~0xCFF:
        return _DEF_TYPE
    if value & 0xFF not in _MTRR_TYPES:
        return _BASE_TYPE
    vcpu.msrs[index] = value
    return None


def _write_variable(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    reserved = reserved_address_bits(vcpu) | (0x7FF if index & 1 else 0xF00)
    if not index & 1 and value & 0xFF not in _MTRR_TYPES:
        return _BASE_TYPE
    if value & reserved:
        return _RESERVED._replace(allowed=reserved)
    vcpu.msrs[index] = value
    return None


def _write_none(_vcpu: WholeVcpu, _index: int, _value: int) -> Refusal:
    return _NO_RANGE


def _read_none(_vcpu: WholeVcpu, _index: int) -> Refusal:
    return _NO_RANGE


def rules(_kvm: Kvm, rules: MsrRules) -> dict[int, MsrRule]:
    """MTRRs, and PAT."""
    nothing = MsrRule(_write_none, _read_none, _SOURCE)
    return {
        **dict.fromkeys(range(512, 768) if rules.mtrr_any else range(512, 624), nothing),
        **{index: MsrRule(_write_variable, read_stored, _SOURCE) for index in _VARIABLE},
        **{index: MsrRule(_write_fixed, read_stored, _SOURCE) for index in _FIXED},
        MTRR_DEF_TYPE: MsrRule(_write_default, read_stored, _SOURCE),
        MTRR_CAP: read_only(_CAP, "kvm_mtrr_get_msr (mtrr.c)"),
        PAT: MsrRule(write_pat, reader(PAT_RESET), "kvm_pat_valid (x86.h)"),
    }
