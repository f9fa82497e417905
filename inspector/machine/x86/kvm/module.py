"""KVM on a host, and what it gives to guests (kvm_cpu_caps, kvm_caps).

Source: Linux arch/x86/kvm/x86.c, cpuid.c, svm/svm.c, vmx/vmx.c.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.caps import Caps, cpu_caps
from inspector.machine.x86.kvm.control_bits import known_efer_bits, reserved_cr4_bits
from inspector.machine.x86.kvm.loaded import PVM, SVM, VMX, Loaded, Processor
from layouts.light import cached_property

__all__ = ("PVM", "SVM", "VMX", "Kvm", "Processor")


class Kvm(Loaded):
    """KVM as it is loaded, with the features that guests may have."""

    @property
    def xss(self) -> int:
        """kvm_caps.supported_xss, with what kvm_setup_xss_caps takes."""
        mask = self.host.kvm_xss if self.has("XSAVES") else 0
        return mask if self.has("SHSTK") or self.has("IBT") else 0

    @cached_property
    def cr4_reserved(self) -> int:
        """The bits of CR4 that KVM does not give to any guest (cr4_reserved_bits)."""
        return reserved_cr4_bits(self.release, self.has)

    @cached_property
    def efer_known(self) -> int:
        """The bits of EFER that KVM knows."""
        return known_efer_bits(self, self.has)

    @cached_property
    def caps(self) -> Caps:
        """kvm_cpu_caps."""
        return cpu_caps(self)

    @cached_property
    def _had(self) -> dict[str, bool]:
        return {}

    def has(self, feature: str) -> bool:
        """kvm_cpu_cap_has."""
        found = self._had.get(feature)
        if found is None:
            found = self._had[feature] = self.caps.has(feature)
        return found
