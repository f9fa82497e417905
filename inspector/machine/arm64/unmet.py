"""Features that the first run takes from a VM, as others are missing that they come with.

Source: Linux arch/arm64/kvm/config.c (kvm_idregs_enforce_dependencies, feat_s1pie, feat_s1poe).
"""

from __future__ import annotations

from inspector.machine.arm64.arch import KvmArch
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import ISAR2, MMFR1, MMFR3

_S1PIE_NEEDS = ((MMFR3, of.MMFR3_TCRX), (ISAR2, of.ISAR2_ATS1A))
#: Fields of ID_AA64MMFR3_EL1, and what each needs.
_NEEDS = {of.MMFR3_S1PIE: _S1PIE_NEEDS, of.MMFR3_S1POE: (*_S1PIE_NEEDS, (MMFR1, of.MMFR1_HPDS))}


def drop(vm: KvmArch) -> None:
    """The first run of a kernel that holds features to each other: those without what they need read 0 from now on."""
    if not vm.host.kernel.drops_unmet:
        return
    for field, needs in _NEEDS.items():
        if not all(needed.get(vm.id_registers[encoding]) for encoding, needed in needs):
            vm.id_registers[MMFR3] = field.put(vm.id_registers[MMFR3], 0)
