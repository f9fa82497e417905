"""MSRs of extended state: XSS, XFD, shadow stacks and branch tracking.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), __kvm_set_msr, kvm_set_msr_common, kvm_is_valid_u_s_cet.
"""

from __future__ import annotations

from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import COMMON, address_width, is_canonical, read_stored
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules
from layouts.x86.xsave import DYNAMIC

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

XFD, XFD_ERR, XSS = 0x1C4, 0x1C5, 0xDA0
U_CET, S_CET, INT_SSP_TAB = 0x6A0, 0x6A2, 0x6A8
SSPS = range(0x6A4, 0x6A8)
_CET_RESERVED = 0x3C0
_CET_SHSTK = 3
_CET_IBT = 0x3C | ((1 << 64) - 1) ^ 0x3FF
_SUPPRESS, _WAIT_ENDBR = 1 << 10, 1 << 11
_SET = "__kvm_set_msr (x86.c)"

_NO_XSAVES = Refusal("the guest's CPUID has XSAVES", unsupported=True)
_XSS = Refusal("only what the guest may have in XSS ({allowed:#x}) is set in {value:#x}")
_XSS_HOST = Refusal("only what KVM has of XSS ({allowed:#x}) is set in {value:#x}")
_XFD = Refusal("only dynamic components of the guest's XCR0 ({allowed:#x}) are set in {value:#x}")
_NO_CET = Refusal("the guest's CPUID has SHSTK or IBT, and so has KVM", unsupported=True)
_NO_SHSTK = Refusal("the guest's CPUID has SHSTK, and so has KVM", unsupported=True)
_NO_LM = Refusal("the guest's CPUID has LM", unsupported=True)
_RESERVED = Refusal("bits 9:6 are 0 in {value:#x}")
_SHSTK_BITS = Refusal("bits of shadow stacks are set only for a guest with SHSTK")
_IBT_BITS = Refusal("bits of branch tracking are set only for a guest with IBT")
_BITMAP = Refusal("the bitmap's address in {value:#x} is a multiple of 4 pages")
_TRACKER = Refusal("SUPPRESS and WAIT_ENDBR are not both set in {value:#x}")
_CANONICAL = Refusal("{value:#x} is canonical for the host's width of linear addresses")
_ALIGNED = Refusal("{value:#x} is a multiple of 4")


def supported_xss(vcpu: WholeVcpu) -> int:
    """guest_supported_xss: what the guest's leaf 0xD and KVM have."""
    leaf = vcpu.guest.leaf(0xD, 1)
    return (leaf[2] | leaf[3] << 32) & vcpu.kvm.xss if leaf else 0


def _write_xss(vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
    if vcpu.kvm.msr_rules.xss_needs_xsaves:
        if not vcpu.guest.in_table("XSAVES"):
            return _NO_XSAVES
        allowed = supported_xss(vcpu)
        if value & ~allowed:
            return _XSS._replace(allowed=allowed)
    elif value & ~vcpu.kvm.xss:
        return _XSS_HOST._replace(allowed=vcpu.kvm.xss)
    vcpu.cpuid_dirty = vcpu.cpuid_dirty or vcpu.xss != value
    vcpu.xss = value
    return None


def _read_xss(vcpu: WholeVcpu, _index: int) -> int:
    return vcpu.xss


def supported_xfd(vcpu: WholeVcpu) -> int:
    """kvm_guest_supported_xfd: the dynamic components that the guest may have in XCR0."""
    leaf = vcpu.guest.leaf(0xD, 0)
    return leaf[0] & vcpu.kvm.xcr0 & DYNAMIC if leaf else 0


def _write_xfd(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    allowed = supported_xfd(vcpu)
    if value & ~allowed:
        return _XFD._replace(allowed=allowed)
    vcpu.store_msr(Rule("fpu_update_guest_xfd (fpu/core.c)"), index, value)
    return None


def _read_xfd(vcpu: WholeVcpu, index: int) -> int:
    return vcpu.fpstate.xfd if index == XFD else vcpu.xfd_err


def _check_cet(vcpu: WholeVcpu, value: int) -> Refusal | None:
    """kvm_is_valid_u_s_cet, after one of both features."""
    shstk, ibt = vcpu.guest.has("SHSTK"), vcpu.guest.has("IBT")
    if not shstk and not ibt:
        return _NO_CET
    if value & _CET_RESERVED:
        return _RESERVED
    if not shstk and value & _CET_SHSTK:
        return _SHSTK_BITS
    if not ibt and value & _CET_IBT:
        return _IBT_BITS
    if value >> 12 & 3:
        return _BITMAP
    return _TRACKER if value & _SUPPRESS and value & _WAIT_ENDBR else None


def _write_cet(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    refusal = _check_cet(vcpu, value)
    if refusal is None:
        vcpu.msrs[index] = value
    return refusal


def _read_cet(vcpu: WholeVcpu, index: int) -> int | Refusal:
    if not vcpu.guest.has("SHSTK") and not vcpu.guest.has("IBT"):
        return _NO_CET
    return vcpu.msrs.get(index, 0)


def _write_ssp(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not vcpu.guest.has("SHSTK"):
        return _NO_SHSTK
    if index == INT_SSP_TAB and not vcpu.guest.has("LM"):
        return _NO_LM
    if not is_canonical(value, address_width(vcpu)):
        return _CANONICAL
    if index != INT_SSP_TAB and value & 3:
        return _ALIGNED
    vcpu.msrs[index] = value
    return None


def _read_ssp(vcpu: WholeVcpu, index: int) -> int | Refusal:
    return read_stored(vcpu, index) if vcpu.guest.has("SHSTK") else _NO_SHSTK


def rules(_kvm: Kvm, rules: MsrRules) -> dict[int, MsrRule]:
    """XSS; XFD and CET where the release has them."""
    found = {XSS: MsrRule(_write_xss, _read_xss, COMMON)}
    if rules.xfd:
        found.update({index: MsrRule(_write_xfd, _read_xfd, COMMON) for index in (XFD, XFD_ERR)})
    if rules.cet:
        found.update({index: MsrRule(_write_cet, _read_cet, _SET) for index in (U_CET, S_CET)})
        found.update({index: MsrRule(_write_ssp, _read_ssp, _SET) for index in (*SSPS, INT_SSP_TAB)})
    return found
