"""Whether guests may have PEBS: by the CPU's model, the release and KVM's parameters.

Source: Linux arch/x86/kvm/vmx/capabilities.h, vmx_pebs_supported; arch/x86/events/intel/core.c, pebs_ept.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.loaded import Loaded
from layouts.x86.kvm_caps import PEBS_WITH_EPT

_FAMILY_6 = 6


def has_pebs(kvm: Loaded) -> bool:
    """vmx_pebs_supported: PEBS that works with EPT (x86_pmu.pebs_ept); no emulator's MISC_ENABLE has PEBS."""
    signature = kvm.host.cpuid.signature()
    is_off = not kvm.is_on("enable_pmu") or kvm.is_on("enable_mediated_pmu")
    if signature is None or kvm.host.emulated or is_off:
        return False
    models = {model for since, more in PEBS_WITH_EPT.items() if kvm.since(*since) for model in more}
    return signature[1] == _FAMILY_6 and signature[2] in models
