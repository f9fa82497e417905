"""The VMX capability MSRs that a guest's CPU has.

Source: Linux arch/x86/kvm/vmx/nested.c, vmx_set_vmx_msr, vmx_restore_vmx_basic and its siblings; vmx/vmx.c,
nested_vmx_cr_fixed1_bits_update.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.machine.x86.kvm.msrs.rule import VMX_RANGE, MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import ALL_ONES, U32, is_stuffed
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

BASIC, PINBASED, MISC, CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, CR4_FIXED1 = 0x480, 0x481, 0x485, 0x486, 0x487, 0x488, 0x489
VMCS_ENUM, PROCBASED2, EPT_VPID_CAP, TRUE_PINBASED, VMFUNC = 0x48A, 0x48B, 0x48C, 0x48D, 0x491
#: Pin-based, processor-based, exit and entry controls: the true ones, and what the old ones have always on.
_OLD = {0x481: 0x48D, 0x482: 0x48E, 0x483: 0x48F, 0x484: 0x490}
_ALWAYS_ON = {0x481: 0x16, 0x482: 0x0401E172, 0x483: 0x00036DFF, 0x484: 0x000011FF}
_CONTROLS = (*_OLD.values(), PROCBASED2)
#: VMX_BASIC: dual monitor, INS and OUTS, true controls; reserved 47:45, 31 and 63:56, of which bit 56 is a feature from
#: 6.18 on; 32-bit addresses.
_BASIC_FEATURES, _BASIC_32_BIT = 1 << 49 | 1 << 54 | 1 << 55, 1 << 48
_BASIC_RESERVED = 0xFF << 56 | 0x7 << 45 | 1 << 31
#: VMX_MISC: features, reserved bits; the preemption timer's bit in the pin-based controls.
_MISC_FEATURES = 1 << 5 | 0x7 << 6 | 1 << 14 | 1 << 15 | 0x7 << 28
_MISC_RESERVED = 1 << 31 | 0x1F << 9
_TIMER = 1 << (32 + 6)
#: CR4 bits that follow the guest's CPUID (nested_vmx_cr_fixed1_bits_update); PCE is always there.
_CR4 = {
    "VME": 3,
    "TSC": 1 << 2,
    "DE": 1 << 3,
    "PSE": 1 << 4,
    "PAE": 1 << 5,
    "MCE": 1 << 6,
    "PGE": 1 << 7,
    "FXSR": 1 << 9,
    "XMM": 1 << 10,
    "VMX": 1 << 13,
    "SMX": 1 << 14,
    "PCID": 1 << 17,
    "XSAVE": 1 << 18,
    "FSGSBASE": 1 << 16,
    "SMEP": 1 << 20,
    "SMAP": 1 << 21,
    "PKU": 1 << 22,
    "UMIP": 1 << 11,
    "LA57": 1 << 12,
}
#: Secondary processor-based controls that a guest has with one of some features.
_XSAVES = 20
_CONTROL_FEATURES = {
    3: ("RDTSCP", "RDPID"),
    11: ("RDRAND",),
    12: ("INVPCID",),
    16: ("RDSEED",),
    _XSAVES: ("XSAVES",),
    26: ("WAITPKG",),
}
_CET, _LAM, _PCE = 1 << 23, 1 << 28, 1 << 8
_SOURCE = "vmx_set_vmx_msr, vmx_get_vmx_msr (vmx/nested.c)"

_NO_VMX = Refusal("the guest's CPUID has VMX, and nested virtualization is on")
_GENERATED = Refusal("{index:#x} can be set: KVM makes it from other MSRs or from CPUID")
_SUBSET = Refusal("no bit is set in {value:#x} that KVM does not support ({allowed:#x})")
_MUST_ONE = Refusal("the bits of {allowed:#x} that are always on are set in {value:#x}")
_REVISION = Refusal("{value:#x} names KVM's VMCS revision, at least its size, and 64-bit addresses")
_COUNTS = Refusal("the timer's rate, the number of CR3 targets and the MSR counts of {value:#x} are KVM's")
_VMXON = Refusal("the vCPU is not in VMX operation")


def supported(kvm: Kvm) -> Mapping[int, int]:
    """vmcs_config.nested: what KVM on this host can give, as its feature MSRs say."""
    return kvm.processor.features


def _present(vcpu: WholeVcpu, index: int) -> int:
    """What was set; before that KVM's, or 0 where the VMM turned the stuffing off."""
    found = vcpu.msrs.get(index)
    if found is not None:
        return found
    found = supported(vcpu.kvm).get(index, 0) if is_stuffed(vcpu) else 0
    return found & ~_hidden_controls(vcpu) if index == PROCBASED2 else found


def _hidden_controls(vcpu: WholeVcpu) -> int:
    """Secondary controls of features that the guest's CPUID lacks (vmx_adjust_secondary_exec_control)."""
    hidden = 0
    for bit, features in _CONTROL_FEATURES.items():
        if not any(vcpu.guest.has(feature) for feature in features):
            hidden |= 1 << (32 + bit)
    return hidden if vcpu.guest.has("XSAVE") else hidden | 1 << (32 + _XSAVES)


def _outside(value: int, allowed: int, mask: int = ALL_ONES) -> bool:
    return bool(value & mask & ~allowed)


def _check_basic(value: int, host: int) -> Refusal | None:
    if _outside(value, host, _BASIC_FEATURES | _BASIC_RESERVED):
        return _SUBSET._replace(allowed=host)
    sizes = (host >> 32 & 0x1FFF) <= (value >> 32 & 0x1FFF)
    same = value & 0x7FFFFFFF == host & 0x7FFFFFFF
    return None if sizes and same and not value & _BASIC_32_BIT else _REVISION


def _check_misc(vcpu: WholeVcpu, value: int, host: int) -> Refusal | None:
    if _outside(value, host, _MISC_FEATURES | _MISC_RESERVED):
        return _SUBSET._replace(allowed=host)
    timer = _present(vcpu, TRUE_PINBASED) & _TIMER
    held = (
        (not timer or value & 0x1F == host & 0x1F)
        and value >> 16 & 0x1FF <= host >> 16 & 0x1FF
        and value >> 25 & 7 <= host >> 25 & 7
        and value >> 32 == host >> 32
    )
    return None if held else _COUNTS


def _is_bounded_by_kvm(kvm: Kvm) -> bool:
    """Before 6.0 what was set last bounded what can be set next; 5.10.262 has that mended."""
    return kvm.since(6, 0) or (5, 10, 262) <= kvm.release < (5, 11, 0)


def _check(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    host = supported(vcpu.kvm).get(index, 0) if _is_bounded_by_kvm(vcpu.kvm) else _present(vcpu, index)
    if index == BASIC:
        return _check_basic(value, host)
    if index == MISC:
        return _check_misc(vcpu, value, host)
    if index in _CONTROLS:
        if _outside(host, value, U32):
            return _MUST_ONE._replace(allowed=host & U32)
        return _SUBSET._replace(allowed=host >> 32) if _outside(value >> 32, host >> 32) else None
    if index in (CR0_FIXED0, CR4_FIXED0):
        return _MUST_ONE._replace(allowed=host) if _outside(host, value) else None
    if index in (EPT_VPID_CAP, VMFUNC):
        return _SUBSET._replace(allowed=host) if _outside(value, host) else None
    return None if index == VMCS_ENUM else _GENERATED


def _write(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not vcpu.guest.has("VMX") or not vcpu.kvm.is_on("nested"):
        return _NO_VMX
    from inspector.machine.x86.kvm.nested.vmx import VmxNested

    if isinstance(vcpu.nested, VmxNested) and vcpu.nested.is_on:
        return _VMXON
    refusal = _check(vcpu, index, value)
    if refusal is None:
        vcpu.msrs[index] = value
    return refusal


def _cr4_fixed1(vcpu: WholeVcpu) -> int:
    """What the guest's CPUID lets CR4 have."""
    rules = vcpu.kvm.msr_rules
    found = _PCE | sum(bits for feature, bits in _CR4.items() if vcpu.guest.in_table(feature))
    if rules.cet and (vcpu.guest.in_table("SHSTK") or vcpu.guest.in_table("IBT")):
        found |= _CET
    return found | (_LAM if vcpu.kvm.release >= (6, 8, 0) and vcpu.guest.in_table("LAM") else 0)


def _read(vcpu: WholeVcpu, index: int) -> int | Refusal:
    if not vcpu.guest.has("VMX") or not vcpu.kvm.is_on("nested"):
        return _NO_VMX
    if index == CR4_FIXED1:
        return _cr4_fixed1(vcpu)
    if index == CR0_FIXED1:
        return U32
    true = _OLD.get(index)
    return _present(vcpu, index) if true is None else _present(vcpu, true) | _ALWAYS_ON[index]


def rules() -> dict[int, MsrRule]:
    """The VMX range."""
    return dict.fromkeys(VMX_RANGE, MsrRule(_write, _read, _SOURCE))
