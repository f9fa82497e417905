"""A03xx: a list of registers: ids, order, what is missing."""

from __future__ import annotations

from layouts.lint.rule import LintRule

#: Registers that ID registers make live: the field, the least value, the registers (Linux sys_regs.c, the visibility
#: functions; Arm ARM, each register's page).
LIVE = {
    "id.ID_AA64MMFR3_EL1.TCRX": (1, ("TCR2_EL1",)),
    "id.ID_AA64MMFR3_EL1.SCTLRX": (1, ("SCTLR2_EL1",)),
    "id.ID_AA64MMFR3_EL1.S1PIE": (1, ("PIR_EL1", "PIRE0_EL1")),
    "id.ID_AA64MMFR3_EL1.S1POE": (1, ("POR_EL1", "POR_EL0")),
    "id.ID_AA64PFR2_EL1.FPMR": (1, ("FPMR",)),
    "id.ID_AA64PFR1_EL1.GCS": (1, ("GCSCR_EL1", "GCSPR_EL1", "GCSCRE0_EL1", "GCSPR_EL0")),
    "id.ID_AA64PFR0_EL1.RAS": (1, ("DISR_EL1",)),
    "id.ID_AA64PFR0_EL1.SVE": (1, ("ZCR_EL1",)),
    "id.ID_AA64PFR1_EL1.SME": (1, ("SMCR_EL1", "SMPRI_EL1", "SVCR", "TPIDR2_EL0")),
}
#: Of those, the ones that KVM hides without the feature: ENOENT when they are set (Linux 6.12 and later).
HIDDEN = ("TCR2_EL1", "SCTLR2_EL1", "PIR_EL1", "PIRE0_EL1", "POR_EL1", "POR_EL0", "FPMR", "ZCR_EL1")

#: What every vCPU of Linux KVM has, at EL1.
SYSTEM = (
    "SCTLR_EL1",
    "CPACR_EL1",
    "TTBR0_EL1",
    "TTBR1_EL1",
    "TCR_EL1",
    "MAIR_EL1",
    "VBAR_EL1",
    "ESR_EL1",
    "FAR_EL1",
    "CONTEXTIDR_EL1",
    "TPIDR_EL0",
    "TPIDRRO_EL0",
    "TPIDR_EL1",
    "CNTKCTL_EL1",
    "PAR_EL1",
    "MDSCR_EL1",
)
TIMERS = ("CNTV_CTL_EL0", "CNTV_CVAL_EL0", "CNTVCT_EL0")

_REGS = "Linux arch/arm64/kvm/sys_regs.c, sys_reg_descs; arch/arm64/kvm/guest.c, kvm_arm_copy_reg_indices"

RULES = (
    LintRule(
        "A0301",
        "warning",
        "the set of vector lengths stands behind registers that need it",
        "KVM_REG_ARM64_SVE_VLS can be set before KVM_ARM_VCPU_FINALIZE only, Z, P and FFR only after it. "
        "KVM_GET_REG_LIST "
        "names it first of SVE.",
        "Restored in this order, Z answers EPERM before the set is known; finalized first, the set answers EPERM "
        "and the "
        "vCPU has the host's lengths.",
        "Set it first, then finalize, then the rest in any order.",
        "Linux arch/arm64/kvm/guest.c, copy_sve_reg_indices, set_sve_vls, set_sve_reg",
    ),
    LintRule(
        "A0302",
        "error",
        "an id has another size than its register",
        "Bits 55:52 of the id say the size; KVM looks at them.",
        "KVM_SET_ONE_REG answers ENOENT or EINVAL.",
        "Write the id that KVM_GET_REG_LIST gives.",
        "Linux include/uapi/linux/kvm.h, KVM_REG_SIZE_MASK; arch/arm64/kvm/guest.c",
    ),
    LintRule(
        "A0303",
        "warning",
        "a register is in the list twice with different values",
        "Two entries have one id.",
        "The later one wins.",
        "Leave one.",
        "Linux Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG",
    ),
    LintRule(
        "A0304",
        "error",
        "an id is of another architecture",
        "Bits 63:56 of ids of arm64 are 0x60.",
        "KVM_SET_ONE_REG answers EINVAL.",
        "This register belongs to another kind of vCPU, or to QEMU's 32-bit view.",
        "Linux arch/arm64/kvm/guest.c, kvm_arm_set_reg",
    ),
    LintRule(
        "A0305",
        "error",
        "core registers are missing",
        "The list has some of X0 to X30, SP, PC, PSTATE, SP_EL1, ELR_EL1 and the SPSRs.",
        "Those that are missing start as at reset: 0, PSTATE EL1h.",
        "Save what KVM_GET_REG_LIST names.",
        "Linux arch/arm64/kvm/guest.c, copy_core_reg_indices; arch/arm64/kvm/reset.c, kvm_reset_vcpu",
    ),
    LintRule(
        "A0306",
        "error",
        "system registers that every vCPU has are missing",
        "Translation, exception and thread registers of EL1 are not all in the list.",
        "Those that are missing keep their reset values: the guest's first exception or page walk goes nowhere.",
        "Save what KVM_GET_REG_LIST names.",
        _REGS,
    ),
    LintRule(
        "A0307",
        "error",
        "the virtual timer is missing",
        "CNTV_CTL_EL0, CNTV_CVAL_EL0 and the counter CNTVCT_EL0 are not all in the list.",
        "The timer is off and the guest waits for it for ever, or its counter starts anew and time jumps.",
        "Save the three timer registers.",
        "Linux arch/arm64/kvm/guest.c, timer_reg_list; arch/arm64/kvm/arch_timer.c",
    ),
    LintRule(
        "A0308",
        "error",
        "floating-point registers are missing",
        "The list has core registers, and neither V nor Z registers.",
        "They are zero after the restore.",
        "Save what KVM_GET_REG_LIST names.",
        "Linux arch/arm64/kvm/guest.c, copy_core_reg_indices, copy_sve_reg_indices",
    ),
    LintRule(
        "A0309",
        "warning",
        "a register that a feature makes live is missing",
        "ID registers show the feature, the list lacks its register.",
        "The register starts as at reset: permissions, pointers or modes of the guest are lost.",
        "Save it; a kernel that shows the feature lists the register.",
        _REGS,
    ),
    LintRule(
        "A0310",
        "warning",
        "a register of a feature that ID registers do not show",
        "The list has the register, its field is 0. Kernels up to 6.12 list TCR2_EL1, PIR_EL1 and PIRE0_EL1 always.",
        "Later kernels hide it without the feature: KVM_SET_ONE_REG answers ENOENT, and a VMM that stops at the "
        "first error "
        "does not arrive.",
        "Leave it out, or show the feature.",
        "Linux arch/arm64/kvm/sys_regs.c, tcr2_visibility, s1pie_visibility, s1poe_visibility, fp8_visibility, "
        "sve_visibility",
    ),
    LintRule(
        "A0311",
        "error",
        "registers of the PMU, and ID_AA64DFR0_EL1 has none",
        "PMUVer is 0 or 15, and the list has counters.",
        "KVM_SET_ONE_REG answers ENOENT without KVM_ARM_VCPU_PMU_V3.",
        "Give the vCPU the PMU, or leave them out.",
        "Linux arch/arm64/kvm/sys_regs.c, pmu_visibility",
    ),
    LintRule(
        "A0312",
        "warning",
        "a PMU without its registers",
        "ID_AA64DFR0_EL1.PMUVer shows a PMU, and PMCR_EL0 is not in the list.",
        "Counters start at 0 and off: perf sessions of the guest count nothing.",
        "Save what KVM_GET_REG_LIST names.",
        "Linux arch/arm64/kvm/sys_regs.c, pmu_visibility",
    ),
    LintRule(
        "A0313",
        "warning",
        "ID registers are missing",
        "The list has system registers, and not the ID registers of AArch64.",
        "The guest gets the destination's: features appear or go while it runs.",
        "Save ID registers and set them before the first KVM_RUN.",
        "Linux arch/arm64/kvm/sys_regs.c, set_id_reg; Documentation/virt/kvm/api.rst, KVM_ARM_GET_REG_WRITABLE_MASKS",
    ),
)
