"""Which accesses of a guest's kernel to system registers come to KVM, and which its vCPU makes alone.

As it is when a vCPU starts: KVM stops to trap debug registers once the guest has a breakpoint, and writes to the
registers of its memory once its caches are on. Source: Linux arch/arm64/include/asm/kvm_arm.h (HCR_GUEST_FLAGS),
kvm_emulate.h (vcpu_reset_hcr; in sys_regs.c since 6.12), kvm/debug.c (kvm_arm_setup_mdcr_el2); which registers each bit
traps: kvm/emulate-nested.c (encoding_to_cgt), Arm ARM (DDI 0487), D24.2 (HCR_EL2, MDCR_EL2).
"""

from __future__ import annotations

from inspector.machine.arm64.host import Host
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import AIDR, CTR, IDS, MIDR, MMFR2, MPIDR, REVIDR, op_of_encoding, sysreg_id
from layouts.arm64.kvm_ids import explain
from layouts.vocabulary import Bits

#: VPIDR_EL2 and VMPIDR_EL2 are read instead.
_VIRTUAL = (MIDR, MPIDR)
#: HCR_EL2.TID1, since KVM_CAP_ARM_WRITABLE_IMP_ID_REGS.
_IMPLEMENTATION = (REVIDR, AIDR)
#: HCR_EL2.TID2 or TID4, since KVM makes its guests' caches up.
_CACHES = ("CCSIDR_EL1", "CCSIDR2_EL1", "CLIDR_EL1", "CSSELR_EL1")
#: HCR_EL2.TACR, TLOR and TERR; MDCR_EL2.TPM, TPMCR and TPMS.
_ALWAYS = ("ACTLR_EL1", "LOR", "ERR", "ERX", "PM")
#: MDCR_EL2.TDA, TDOSA and TTRF.
_OP0_OF_DEBUG = 2
#: HCR_EL2.TVM, writes alone, where stage 2 does not force write-back.
_OF_MEMORY = (
    *("SCTLR_EL1", "TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "ESR_EL1", "FAR_EL1", "AFSR0_EL1", "AFSR1_EL1"),
    *(
        "MAIR_EL1",
        "AMAIR_EL1",
        "CONTEXTIDR_EL1",
        "SCTLR2_EL1",
        "TCR2_EL1",
        "PIR_EL1",
        "PIRE0_EL1",
        "POR_EL0",
        "POR_EL1",
    ),
)


def is_trapped(host: Host, encoding: int, *, writes: bool) -> bool:
    """MRS, or MSR, of a system register comes to KVM."""
    kernel, name = host.kernel, explain(sysreg_id(encoding)).name
    if encoding in _VIRTUAL:
        return False
    if encoding in _IMPLEMENTATION:
        return kernel.imp_ids
    if encoding == CTR:
        return kernel.virtual_caches and not _has(host, of.MMFR2_EVT)
    if name in _CACHES:
        return kernel.virtual_caches
    if name in _OF_MEMORY:
        return writes and not _has(host, of.MMFR2_FWB)
    return encoding in IDS or name.startswith(_ALWAYS) or op_of_encoding(encoding)[0] == _OP0_OF_DEBUG


def _has(host: Host, bits: Bits) -> bool:
    """The host's kernel found what a field of ID_AA64MMFR2_EL1 tells of."""
    return bool(bits.get(host.sanitised.get(MMFR2, host.limits.get(MMFR2, 0))))
