"""pKVM (``kvm-arm.mode=protected``): what VMs of such a host are refused, and what a protected one is shown.

Source: Linux arch/arm64/include/asm/kvm_pkvm.h (kvm_pkvm_ext_allowed), kvm/arm.c, kvm/hyp/nvhe/sys_regs.c (pvmid_*,
pvm_calc_id_reg), virt/kvm/kvm_main.c (kvm_vm_ioctl_check_extension_generic); read from 6.12, 6.16 to 7.3. Before 7.1 no
VMM could ask for a protected VM, so that the rules for one decided nothing.
"""

from __future__ import annotations

from layouts.light import NamedTuple

#: KVM_VM_TYPE_ARM_PROTECTED, and the first release that has it.
PROTECTED_TYPE, PROTECTED_SINCE = 1 << 31, (7, 1)
#: KVM_CAP_* that no VM of such a host has: the first release that says so.
REFUSED = {205: (7, 0), 228: (7, 3), 229: (7, 3)}
#: Those that a protected VM may have: IRQCHIP, PSCI, vCPUs, MSI_DEVID, VM_IPA_SIZE, pointer authentication.
ALLOWED = frozenset((0, 9, 66, 87, 102, 128, 131, 165, 171, 172))
#: Those that KVM answers before its architecture is asked (USER_MEMORY, IRQFD, COALESCED_MMIO, GUEST_MEMFD ...).
GENERIC = frozenset((3, 10, 15, 16, 21, 25, 30, 32, 40, 77, 89, 98, 105, 122, 162, 168, 182, 203, 215, 223, 225, 231,
                     234, 244))  # fmt: skip
#: KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES, which KVM_ARM_GET_REG_WRITABLE_MASKS belongs to.
MASK_RANGES = 230


class Shown(NamedTuple):
    """The most that a protected guest is shown of a field. ``with_pauth``: only with pointer authentication."""

    field: str
    most: int
    signed: bool = False
    with_pauth: bool = False


#: Registers that are cut down by field; what is not named reads 0.
FIELDS = {
    "ID_AA64PFR0_EL1": (
        *(Shown(name, 1) for name in ("EL0", "EL1", "EL2", "EL3", "GIC", "RAS", "DIT", "CSV2", "CSV3")),
        Shown("FP", 1, signed=True),
        Shown("AdvSIMD", 1, signed=True),
    ),
    "ID_AA64PFR1_EL1": (Shown("BT", 1), Shown("SSBS", 2), Shown("MTE_frac", 15)),
    "ID_AA64PFR2_EL1": (Shown("GCIE", 0),),
    "ID_AA64MMFR0_EL1": (
        Shown("PARANGE", 2),
        Shown("ASIDBITS", 2),
        *(Shown(name, 1) for name in ("BIGEND", "SNSMEM", "BIGENDEL0", "EXS")),
    ),
    "ID_AA64MMFR1_EL1": (
        *(Shown(name, 2) for name in ("HAFDBS", "VMIDBits", "HPDS")),
        *(Shown(name, 1) for name in ("SpecSEI", "ETS", "CMOW")),
        Shown("PAN", 3),
    ),
    "ID_AA64MMFR2_EL1": (
        *(Shown(name, 1) for name in ("CnP", "UAO", "IESB", "AT", "IDS", "TTL", "E0PD")),
        Shown("BBM", 2),
    ),
    "ID_AA64ISAR1_EL1": (
        *(Shown(name, 1) for name in ("JSCVT", "FCMA", "GPA", "GPI", "FRINTTS", "SB", "DGH", "I8MM")),
        *(Shown(name, 2) for name in ("DPB", "SPECRES", "BF16")),
        Shown("LRCPC", 3),
        Shown("APA", 1, with_pauth=True),
        Shown("API", 1, with_pauth=True),
    ),
    "ID_AA64ISAR2_EL1": (Shown("GPA3", 1, with_pauth=True), Shown("APA3", 1, with_pauth=True), Shown("ATS1A", 1)),
}
#: Fields that 7.3 has beside those: granules of stage 1.
FIELDS_SINCE_7_3 = {
    "ID_AA64MMFR0_EL1": (Shown("TGRAN4", 0, signed=True), Shown("TGRAN16", 1), Shown("TGRAN64", 0, signed=True)),
}
#: The register that is shown as the host has it, and those whose "not there" is not 0: DoubleLock, MTPMU, E2H0.
WHOLE = "ID_AA64ISAR0_EL1"
CONSTANT = {"ID_AA64DFR0_EL1": 0xF << 36 | 0xF << 48, "ID_AA64MMFR4_EL1": 0xF << 24}
