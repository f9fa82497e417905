"""Which bits of CR4 and EFER a host and a guest have.

Source: Linux arch/x86/include/asm/kvm_host.h, CR4_RESERVED_BITS; kvm/x86.h (from 7.2 on regs.h),
__cr4_reserved_bits; x86.c, __kvm_valid_efer, kvm_valid_efer, efer_reserved_bits; svm/svm.c, svm_hardware_setup.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm.cpuid_ioctls import CR4_OSXSAVE, CR4_PKE

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

CR4_PAE, CR4_VMXE, CR4_CET, CR4_LAM = 1 << 5, 1 << 13, 1 << 23, 1 << 28
#: VME to OSXMMEXCPT: bits 0 to 10.
_CR4_ALWAYS = 0x7FF
_CR4_FEATURES = (
    (CR4_OSXSAVE, "XSAVE"),
    (1 << 20, "SMEP"),
    (1 << 21, "SMAP"),
    (1 << 16, "FSGSBASE"),
    (CR4_PKE, "PKU"),
    (1 << 12, "LA57"),
    (1 << 11, "UMIP"),
    (CR4_VMXE, "VMX"),
    (1 << 17, "PCID"),
)
_M64 = (1 << 64) - 1
_EFER_SCE, _EFER_LONG, _EFER_NX, _EFER_SVME = 1, 0x500, 1 << 11, 1 << 12
_EFER_LMSLE, _EFER_FFXSR, _EFER_AUTOIBRS = 1 << 13, 1 << 14, 1 << 21
_EFER_FEATURES = (
    (_EFER_AUTOIBRS, "AUTOIBRS"),
    (_EFER_FFXSR, "FXSR_OPT"),
    (_EFER_SVME, "SVM"),
    (_EFER_LONG, "LM"),
    (_EFER_NX, "NX"),
)


def reserved_cr4_bits(release: tuple[int, ...], has: Callable[[str], bool]) -> int:
    """__cr4_reserved_bits, for a host or a guest that has features."""
    known = _CR4_ALWAYS
    for bit, feature in _CR4_FEATURES:
        known |= bit if has(feature) else 0
    if release >= (6, 8) and has("LAM"):
        known |= CR4_LAM
    if release >= (6, 18) and (has("SHSTK") or has("IBT")):
        known |= CR4_CET
    return _M64 & ~known


def known_efer_bits(kvm: Kvm) -> int:
    """The complement of efer_reserved_bits."""
    known = _EFER_SCE | _EFER_LONG
    has = kvm.has if kvm.since(7, 0) else kvm.boot_has
    known |= _EFER_NX if has("NX") else 0
    if kvm.is_svm or kvm.since(7, 0):
        known |= _EFER_FFXSR if has("FXSR_OPT") else 0
        known |= _EFER_AUTOIBRS if has("AUTOIBRS") and kvm.since(6, 2) else 0
    if kvm.is_svm and kvm.is_on("nested", default=True):
        known |= _EFER_SVME
        known |= 0 if kvm.since(6, 19) and kvm.boot_has("EFER_LMSLE_MBZ") else _EFER_LMSLE
    return known


def valid_efer(vcpu: WholeVcpu, rule: Rule, efer: int) -> bool:
    """kvm_valid_efer: bits that KVM lacks, then those of features that the guest's CPUID lacks."""
    if not rule.check("EFER has no bit that KVM lacks", not efer & ~vcpu.kvm.efer_known):
        return False
    missing = [name for bits, name in _EFER_FEATURES if efer & bits and not vcpu.guest.has(name)]
    return rule.check(f"the guest's CPUID has what EFER turns on {' '.join(missing)}".rstrip(), not missing)
