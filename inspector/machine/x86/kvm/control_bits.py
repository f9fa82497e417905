"""Which bits of CR4 and EFER a host and a guest have.

Source: Linux arch/x86/include/asm/kvm_host.h, CR4_RESERVED_BITS; kvm/x86.h (from 7.2 on regs.h),
__cr4_reserved_bits; x86.c, __kvm_valid_efer, kvm_valid_efer, efer_reserved_bits; svm/svm.c, svm_hardware_setup.
"""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.x86.kvm.loaded import Loaded

CR4_OSXSAVE, CR4_PKE = 1 << 18, 1 << 22
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
EFER_SCE, EFER_LONG, EFER_NX, EFER_SVME = 1, 0x500, 1 << 11, 1 << 12
EFER_LMSLE, EFER_FFXSR, EFER_AUTOIBRS = 1 << 13, 1 << 14, 1 << 21


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


def known_efer_bits(kvm: Loaded, kvm_has: Callable[[str], bool]) -> int:
    """The complement of efer_reserved_bits."""
    known = EFER_SCE | EFER_LONG
    has = kvm_has if kvm.since(7, 0) else kvm.boot_has
    known |= EFER_NX if has("NX") else 0
    if kvm.is_svm or kvm.since(7, 0):
        known |= EFER_FFXSR if has("FXSR_OPT") else 0
        known |= EFER_AUTOIBRS if has("AUTOIBRS") and kvm.since(6, 2) else 0
    if kvm.is_svm and kvm.is_on("nested"):
        known |= EFER_SVME
        known |= 0 if kvm.since(6, 19) and kvm.boot_has("EFER_LMSLE_MBZ") else EFER_LMSLE
    return known
