"""MSRs that kvm-intel has of its own.

Source: Linux arch/x86/kvm/vmx/vmx.c, vmx_set_msr, vmx_get_msr, vmx_get_supported_debugctl.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs import common, nested_vmx
from inspector.machine.x86.kvm.msrs.counters import LBR_FORMAT, supported_perf_cap
from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.silicon import reads
from inspector.machine.x86.kvm.msrs.values import (
    U32,
    address_width,
    is_canonical,
    masked,
    read_only,
    read_stored,
    store,
    stored,
)
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

FEATURE_CONTROL, UMWAIT, TSX_CTRL = 0x3A, 0xE1, 0x122
SYSENTER_CS, DEBUGCTL, LAST_BRANCHES, MCG_EXT_CTL, BNDCFGS = 0x174, 0x1D9, range(0x1DB, 0x1DF), 0x4D0, 0xD90
STAR, LSTAR, CSTAR, SYSCALL_MASK = 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084
TRACE = (0x560, 0x561, 0x570, 0x571, 0x572, *range(0x580, 0x588))
#: KVM_SUPPORTED_FEATURE_CONTROL: lock, VMX inside and outside SMX, SGX LC, SGX, LMCE.
_FEATURE_CONTROL = 0x160007
_LOCK, _VMX_OUTSIDE_INSIDE, _SGX_LC, _SGX, _LMCE = 1, 6, 1 << 17, 1 << 18, 1 << 20
_LMCE_P = 1 << 27
_BTF, _LBR, _FREEZE_LBRS, _RTM_DEBUG, _BUS_LOCK = 2, 1, 1 << 11, 1 << 15, 1 << 2
#: SGX_LE_PUBKEY_HASH0 to 3, as they begin.
_INTEL_KEY = {
    0x8C: 0xA6053E051270B7AC,
    0x8D: 0x6CFBE8BA8B3B413D,
    0x8E: 0xC4916D99F2B3735D,
    0x8F: 0xD4F8C05909F9BB3B,
}
_BNDCFGS_RESERVED = 0xFFC
_SOURCE = "vmx_set_msr, vmx_get_msr (vmx.c)"

_FEATURE = Refusal("only bits {allowed:#x} of FEATURE_CONTROL are set in {value:#x}")
_UMWAIT = Refusal("bit 1 and bits 63:32 of {value:#x} are 0")
_NO_TSX = Refusal("the host's CPU has TSX_CTRL", unsupported=True)
_DEBUGCTL = Refusal("only bits {allowed:#x} are set in {value:#x}")
_NO_MPX = Refusal("KVM has MPX")
_BNDCFGS = Refusal("{value:#x} is a canonical address, and its reserved bits 11:2 are 0")
_NO_TRACE = Refusal("processor trace is the guests' (pt_mode=1)")


def _feature_control_bits(vcpu: WholeVcpu) -> int:
    """What the host may set: all that KVM knows; before 6.3 what the guest's CPUID enables."""
    if vcpu.kvm.msr_rules.feature_control_host:
        return _FEATURE_CONTROL
    found = _LOCK | (_VMX_OUTSIDE_INSIDE if vcpu.guest.has("VMX") else 0)
    found |= (_SGX if vcpu.guest.has("SGX") else 0) | (_SGX_LC if vcpu.guest.has("SGX_LC") else 0)
    return found | (_LMCE if vcpu.mcg_cap & _LMCE_P else 0)


def _write_feature_control(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    allowed = _feature_control_bits(vcpu)
    if value & ~allowed:
        return _FEATURE._replace(allowed=allowed)
    if not value:
        # vmx_leave_nested: VMX is off.
        vcpu.leave_nested()
    vcpu.msrs[index] = value
    return None


def _write_umwait(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value & (2 | ~U32):
        return _UMWAIT
    vcpu.msrs[index] = value
    return None


def _has_tsx_ctrl(vcpu: WholeVcpu) -> bool:
    """The MSR is one that KVM switches: the host's CPU reads and writes it."""
    return reads(vcpu.kvm, TSX_CTRL)


def _write_tsx_ctrl(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value & ~3:
        return _DEBUGCTL._replace(allowed=3)
    if not _has_tsx_ctrl(vcpu):
        return _NO_TSX
    vcpu.msrs[index] = value
    return None


def _read_tsx_ctrl(vcpu: WholeVcpu, index: int) -> int | Refusal:
    return vcpu.msrs.get(index, 0) if _has_tsx_ctrl(vcpu) else _NO_TSX


def _supported_debugctl(vcpu: WholeVcpu) -> int:
    """vmx_get_supported_debugctl, for the host."""
    kvm = vcpu.kvm
    found = _BUS_LOCK if kvm.boot_has("BUS_LOCK_DETECT") else 0
    if supported_perf_cap(kvm) & LBR_FORMAT:
        found |= _LBR | _FREEZE_LBRS
    return found | (_RTM_DEBUG if kvm.msr_rules.debugctl_rtm and kvm.boot_has("RTM") else 0)


def _write_debugctl(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if vcpu.kvm.msr_rules.debugctl_in_common:
        return _DEBUGCTL._replace(allowed=3) if value & ~3 else None
    allowed = _supported_debugctl(vcpu)
    if value & ~(allowed | _BTF | _LBR):
        return _DEBUGCTL._replace(allowed=allowed | _BTF | _LBR)
    vcpu.msrs[index] = value & allowed
    return None


def _write_bndcfgs(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not vcpu.kvm.has("MPX"):
        return _NO_MPX
    if value & _BNDCFGS_RESERVED or not is_canonical(value, address_width(vcpu)):
        return _BNDCFGS
    vcpu.msrs[index] = value
    return None


def _read_bndcfgs(vcpu: WholeVcpu, index: int) -> int | Refusal:
    return vcpu.msrs.get(index, 0) if vcpu.kvm.has("MPX") else _NO_MPX


def _write_trace(_vcpu: WholeVcpu, _index: int, _value: int) -> Refusal:
    return _NO_TRACE


def _read_trace(_vcpu: WholeVcpu, _index: int) -> Refusal:
    return _NO_TRACE


def _sgx(kvm: Kvm) -> dict[int, MsrRule]:
    """The launch enclave's key: Intel's at reset (setup_default_sgx_lepubkeyhash); from 5.13 on."""
    if kvm.release < (5, 13, 0):
        return {}
    return {index: stored(key, _SOURCE) for index, key in _INTEL_KEY.items()}


def rules(kvm: Kvm, _rules: MsrRules) -> dict[int, MsrRule]:
    """What vmx_set_msr has before kvm_set_msr_common."""
    kept = MsrRule(store, read_stored, _SOURCE)
    base = MsrRule(common.write_canonical, read_stored, "__kvm_set_msr (x86.c)")
    sysenter = MsrRule(common.write_sysenter, read_stored, "__kvm_set_msr (x86.c)")
    segment_base = MsrRule(common.write_segment_base, common.read_segment_base, "__kvm_set_msr (x86.c)")
    return {
        **nested_vmx.rules(),
        **dict.fromkeys((STAR, SYSCALL_MASK), kept),
        **_sgx(kvm),
        **dict.fromkeys((LSTAR, CSTAR, common.KERNEL_GS_BASE), base),
        **dict.fromkeys((common.FS_BASE, common.GS_BASE), segment_base),
        **dict.fromkeys((common.SYSENTER_ESP, common.SYSENTER_EIP), sysenter),
        **dict.fromkeys(TRACE, MsrRule(_write_trace, _read_trace, _SOURCE)),
        **dict.fromkeys(LAST_BRANCHES, read_only(0, _SOURCE)),
        SYSENTER_CS: MsrRule(_write_sysenter_cs, read_stored, _SOURCE),
        common.TSC_AUX: MsrRule(
            common.write_tsc_aux, common.read_tsc_aux, "__kvm_set_msr (x86.c), vmx_set_msr (vmx.c)"
        ),
        common.SPEC_CTRL: MsrRule(common.write_spec_ctrl, read_stored, "kvm_spec_ctrl_test_value (x86.c)"),
        FEATURE_CONTROL: MsrRule(_write_feature_control, read_stored, "is_vmx_feature_control_msr_valid (vmx.c)"),
        UMWAIT: MsrRule(_write_umwait, read_stored, _SOURCE),
        TSX_CTRL: MsrRule(_write_tsx_ctrl, _read_tsx_ctrl, _SOURCE),
        DEBUGCTL: MsrRule(_write_debugctl, read_stored, "vmx_is_valid_debugctl (vmx.c)"),
        MCG_EXT_CTL: MsrRule(masked(1), read_stored, _SOURCE),
        BNDCFGS: MsrRule(_write_bndcfgs, _read_bndcfgs, _SOURCE),
    }


def _write_sysenter_cs(vcpu: WholeVcpu, index: int, value: int) -> None:
    """A field of 32 bits in the VMCS."""
    vcpu.msrs[index] = value & U32
