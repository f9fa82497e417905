"""A01xx: ID registers against each other, and state against the features that ID registers show."""

from __future__ import annotations

from layouts.lint.rule import LintRule

_SET = "Linux arch/arm64/kvm/sys_regs.c, set_id_reg, arm64_check_features"
_CORE = "Linux arch/arm64/kvm/guest.c, set_core_reg"
_ENOENT = "KVM_SET_ONE_REG answers ENOENT, or EINVAL for a value other than 0, where the vCPU has the feature hidden."

RULES = (
    LintRule(
        "A0101",
        "warning",
        "ID registers show a feature without one that the architecture ties to it",
        "Arm publishes what each FEAT_ name needs; this set of registers is no CPU that the architecture allows. "
        "KVM makes "
        "such sets where it hides one field and not another.",
        "KVM judges each field for itself and takes them. A guest that tests one feature for the other uses "
        "instructions "
        "or registers that are not there: undefined instruction.",
        "Hide or show both; a kernel that hides one (DebugVer and RAS in Linux before 6.12) does it by itself.",
        "Arm AARCHMRS, Features.json, build 445 (layouts/arm64/data/constraints.txt)",
    ),
    LintRule(
        "A0102",
        "error",
        "ID_AA64PFR0_EL1 has no EL0 or no EL1",
        "EL0 and EL1 are 1 (AArch64) or 2 (AArch32 as well).",
        "Linux 6.16 and later: KVM_SET_ONE_REG answers EINVAL. Before it is taken.",
        "Write 1 or 2.",
        "Linux arch/arm64/kvm/sys_regs.c, set_id_aa64pfr0_el1",
    ),
    LintRule(
        "A0103",
        "warning",
        "floating point and Advanced SIMD differ in ID_AA64PFR0_EL1",
        "Arm has both fields the same.",
        "KVM takes them. Guests that test one use instructions of the other.",
        "Write the same value in both.",
        "Arm ARM (DDI 0487), ID_AA64PFR0_EL1.AdvSIMD",
    ),
    LintRule(
        "A0104",
        "error",
        "ID_AA64ZFR0_EL1 is not zero without SVE",
        "The register is reserved without FEAT_SVE.",
        "KVM has it read as zero for such a vCPU: KVM_SET_ONE_REG answers EINVAL.",
        "Write 0, or give the vCPU KVM_ARM_VCPU_SVE.",
        "Linux arch/arm64/kvm/sys_regs.c, sve_visibility, set_id_reg",
    ),
    LintRule(
        "A0105",
        "warning",
        "ID_AA64SMFR0_EL1 is not zero without SME",
        "The register is reserved without FEAT_SME.",
        "KVM, which gives guests no SME, answers EINVAL.",
        "Write 0.",
        _SET,
    ),
    LintRule(
        "A0106",
        "error",
        "PSTATE is AArch32, and ID_AA64PFR0_EL1 has no AArch32",
        "The mode needs AArch32 at EL0 (user mode) or EL1.",
        "KVM_SET_ONE_REG of PSTATE answers EINVAL where the host has no AArch32; else the guest takes an illegal "
        "return.",
        "Restore PSTATE, or run on a CPU with AArch32 at EL0.",
        _CORE,
    ),
    LintRule(
        "A0107",
        "error",
        "PSTATE has a mode that is none",
        "M[3:0] of AArch64 is EL0t, EL1t, EL1h, EL2t or EL2h.",
        "KVM_SET_ONE_REG of PSTATE answers EINVAL.",
        "Restore PSTATE.",
        _CORE,
    ),
    LintRule(
        "A0108",
        "error",
        "PSTATE is EL2, and ID_AA64PFR0_EL1 has no EL2",
        "The vCPU runs a hypervisor and is not said to have EL2.",
        "KVM_SET_ONE_REG of PSTATE answers EINVAL without KVM_ARM_VCPU_HAS_EL2.",
        "Give the vCPU EL2, or restore PSTATE.",
        _CORE,
    ),
    LintRule(
        "A0109",
        "error",
        "pointer authentication keys without the feature",
        "ID_AA64ISAR1_EL1 and ISAR2 show no algorithm, and keys are in the list.",
        "KVM_SET_ONE_REG answers ENOENT for a vCPU without KVM_ARM_VCPU_PTRAUTH_ADDRESS and _GENERIC.",
        "Give the vCPU both features, or leave the keys out.",
        "Linux arch/arm64/kvm/sys_regs.c, ptrauth_visibility",
    ),
    LintRule(
        "A0110",
        "error",
        "pointer authentication without keys",
        "ID_AA64ISAR1_EL1 or ISAR2 shows an algorithm, and the list has none of the keys.",
        "The keys start at another value: the first authenticated return in the guest's kernel and in every "
        "process that "
        "ran faults.",
        "Save APIA, APIB, APDA, APDB and APGA keys.",
        "Linux arch/arm64/kvm/sys_regs.c, PTRAUTH_KEY; Arm ARM (DDI 0487), D8.10",
    ),
    LintRule(
        "A0111",
        "error",
        "memory tagging registers without the feature",
        "ID_AA64PFR1_EL1.MTE is less than 2, and TFSR, RGSR or GCR are in the list.",
        _ENOENT,
        "Enable KVM_CAP_ARM_MTE before the vCPU is made, or leave them out.",
        "Linux arch/arm64/kvm/sys_regs.c, mte_visibility",
    ),
    LintRule(
        "A0112",
        "warning",
        "memory tagging without its registers",
        "ID_AA64PFR1_EL1.MTE is 2 or more, and GCR_EL1 is not in the list.",
        "IRG of the guest makes tags from another seed and mask; pending tag faults are lost. Tags themselves "
        "are memory: "
        "KVM_ARM_MTE_COPY_TAGS.",
        "Save TFSR_EL1, TFSRE0_EL1, RGSR_EL1 and GCR_EL1.",
        "Linux arch/arm64/kvm/sys_regs.c, mte_visibility; Documentation/virt/kvm/api.rst, KVM_ARM_MTE_COPY_TAGS",
    ),
    LintRule(
        "A0113",
        "warning",
        "PSTATE.TCO without memory tagging",
        "The bit is reserved without FEAT_MTE.",
        "The CPU ignores it, or takes an illegal exception return.",
        "Clear the bit.",
        "Arm ARM (DDI 0487), C5.2, TCO",
    ),
    LintRule(
        "A0114",
        "warning",
        "a breakpoint is on that ID_AA64DFR0_EL1 does not have",
        "DBGBCRn or DBGWCRn is enabled with n above BRPs or WRPs.",
        "KVM keeps all 16 and runs with those of the host: the breakpoint never fires there.",
        "Move to a host with as many, or tell the guest's debugger.",
        "Linux arch/arm64/kvm/sys_regs.c, DBG_BCR_BVR_WCR_WVR_EL1; Arm ARM (DDI 0487), ID_AA64DFR0_EL1",
    ),
    LintRule(
        "A0115",
        "warning",
        "TCR_EL1 walks with a granule that ID_AA64MMFR0_EL1 does not have",
        "The MMU is on, and TG0 or TG1 chooses a granule whose TGran field says no.",
        "The CPU uses another granule: every translation of the guest is wrong.",
        "Move to a host with the granule.",
        "Arm ARM (DDI 0487), TCR_EL1.TG0; ID_AA64MMFR0_EL1.TGran4, TGran16, TGran64",
    ),
    LintRule(
        "A0116",
        "note",
        "registers hold KVM's pattern of an unset register",
        "0x1de7ec7edbadc0de is what KVM's reset puts into registers whose reset value is unknown.",
        "The vCPU was captured before its first instructions, or these registers were never restored.",
        "If the guest had run: restore them.",
        "Linux arch/arm64/kvm/sys_regs.h, reset_unknown",
    ),
    LintRule(
        "A0117",
        "warning",
        "MPIDR_EL1 has bit 31 clear",
        "The bit is RES1.",
        "KVM takes any value. Linux guests read it as it is; others test the bit for the multiprocessing extensions.",
        "Set it.",
        "Arm ARM (DDI 0487), MPIDR_EL1; Linux arch/arm64/kvm/sys_regs.c, reset_mpidr",
    ),
    LintRule(
        "A0118",
        "warning",
        "CTR_EL0 has a reserved policy for the instruction cache",
        "L1Ip is 2 (VIPT) or 3 (PIPT); 0 and 1 are reserved in Armv8 as of today.",
        "KVM refuses VPIPT where the host has none: EINVAL.",
        "Write 2 or 3.",
        "Linux arch/arm64/kvm/sys_regs.c, set_ctr_el0; Arm ARM (DDI 0487), CTR_EL0",
    ),
)
