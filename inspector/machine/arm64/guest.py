"""What a guest reads of its own ID registers: KVM traps them, or the CPU answers.

Source: Linux arch/arm64/include/asm/kvm_emulate.h (vcpu_reset_hcr), kvm/sys_regs.c (kvm_calculate_traps, vcpu_set_hcr).
"""

from __future__ import annotations

from inspector.machine.arm64 import pkvm
from inspector.machine.arm64.host import EL1_32BIT
from inspector.machine.arm64.vcpu import Vcpu
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import AARCH32_IDS, AARCH64_IDS, CTR, MMFR2, sysreg_id


def mrs(vcpu: Vcpu, encoding: int) -> int:
    """The value that the guest reads."""
    if encoding == CTR and vcpu.initialized and not traps_ctr(vcpu):
        return vcpu.host.bare_ctr
    if vcpu.vm.protected and (encoding in AARCH32_IDS or encoding in AARCH64_IDS):
        return pkvm.mrs(vcpu, encoding)
    return vcpu.get(sysreg_id(encoding)).value


def traps_ctr(vcpu: Vcpu) -> bool:
    """CTR_EL0 is trapped (HCR_EL2.TID2): until 6.4 for 32-bit guests, since then unless the CPU can trap the caches
    alone (FEAT_EVT) and the VM's value is the host's.
    """  # noqa: D205 - one sentence
    host = vcpu.host
    sanitised = host.sanitised.get(CTR, 0)
    if not host.kernel.virtual_caches:
        return bool(vcpu.features & EL1_32BIT)
    has_evt = of.MMFR2_EVT.get(host.sanitised.get(MMFR2, 0)) > 0
    return not has_evt or vcpu.id_value(CTR) != sanitised
