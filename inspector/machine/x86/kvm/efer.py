"""Which EFER a guest may have.

Source: Linux arch/x86/kvm/x86.c, kvm_valid_efer, __kvm_valid_efer.
"""

from __future__ import annotations

from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm.control_bits import (
    EFER_AUTOIBRS,
    EFER_FFXSR,
    EFER_LONG,
    EFER_NX,
    EFER_SVME,
)
from inspector.machine.x86.kvm.state import VcpuState

_EFER_FEATURES = (
    (EFER_AUTOIBRS, "AUTOIBRS"),
    (EFER_FFXSR, "FXSR_OPT"),
    (EFER_SVME, "SVM"),
    (EFER_LONG, "LM"),
    (EFER_NX, "NX"),
)


def valid_efer(vcpu: VcpuState, rule: Rule, efer: int) -> bool:
    """kvm_valid_efer: bits that KVM lacks, then those of features that the guest's CPUID lacks."""
    if not rule.check("EFER has no bit that KVM lacks", not efer & ~vcpu.kvm.efer_known):
        return False
    missing = [name for bits, name in _EFER_FEATURES if efer & bits and not vcpu.guest.has(name)]
    return rule.check(f"the guest's CPUID has what EFER turns on {' '.join(missing)}".rstrip(), not missing)
