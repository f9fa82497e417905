"""A05xx: PMU, timers and firmware registers."""

from __future__ import annotations

from layouts.lint.rule import LintRule

#: PSCI versions that KVM takes: 0.2, 1.0 to 1.3, and for old vCPUs 0.1.
PSCI_VERSIONS = (0x1, 0x2, 0x1_0000, 0x1_0001, 0x1_0002, 0x1_0003)
#: Bits of the bitmaps that some kernel knows (Linux arch/arm64/include/uapi/asm/kvm.h, KVM_REG_ARM_*_BIT_COUNT).
BITMAPS = {"STD_BMAP": 1, "STD_HYP_BMAP": 1, "VENDOR_HYP_BMAP": 2, "VENDOR_HYP_BMAP_2": 2}

_FIRMWARE = "Linux arch/arm64/kvm/hypercalls.c, kvm_arm_set_fw_reg"

RULES = (
    LintRule(
        "A0501",
        "error",
        "the PSCI version is none that KVM knows",
        "0.1, 0.2 and 1.0 to 1.3 are known.",
        "KVM_SET_ONE_REG answers EINVAL.",
        "Write the version that KVM_GET_ONE_REG gave.",
        _FIRMWARE,
    ),
    LintRule(
        "A0502",
        "error",
        "a workaround has a level that is none",
        "SMCCC_ARCH_WORKAROUND_1 and _3 are 0 (not available), 1 (available) or 2 (not required); _2 has 0 to 3 "
        "and bit 4.",
        "KVM_SET_ONE_REG answers EINVAL.",
        "Write the level that KVM_GET_ONE_REG gave.",
        _FIRMWARE,
    ),
    LintRule(
        "A0503",
        "error",
        "SMCCC_ARCH_WORKAROUND_2 is on and not available",
        "Bit 4 needs level 2 (available).",
        "KVM_SET_ONE_REG answers EINVAL.",
        "Clear bit 4, or write level 2.",
        _FIRMWARE,
    ),
    LintRule(
        "A0504",
        "error",
        "a bitmap of hypercalls has bits that nobody knows",
        "Bits that the kernel does not know are hypercalls of a newer one.",
        "KVM_SET_ONE_REG answers EINVAL.",
        "Clear the bits, or restore on a kernel that has them.",
        "Linux arch/arm64/kvm/hypercalls.c, kvm_arm_set_fw_reg_bmap",
    ),
    LintRule(
        "A0505",
        "warning",
        "a PMU counter is on that PMCR_EL0.N does not have",
        "PMCNTENSET_EL0 has bits from N up, other than 31.",
        "KVM masks them: the events are not counted.",
        "Restore PMCR_EL0 first, on a host with as many counters.",
        "Linux arch/arm64/kvm/sys_regs.c, set_pmreg; arch/arm64/kvm/pmu-emul.c, kvm_pmu_accessible_counter_mask",
    ),
    LintRule(
        "A0506",
        "warning",
        "the two views of one PMU register differ",
        "PMCNTENSET and CLR, PMINTENSET and CLR, PMOVSSET and CLR read the same.",
        "Restored one after the other, the later wins, or on old kernels clears what the other set.",
        "Restore both from one moment.",
        "Linux arch/arm64/kvm/sys_regs.c, set_pmreg, access_pmcnten",
    ),
    LintRule(
        "A0507",
        "warning",
        "CNTV_CTL_EL0.ISTATUS does not follow from counter and compare value",
        "The timer fires when CNTVCT_EL0 reaches CNTV_CVAL_EL0; ISTATUS says so while it is enabled.",
        "KVM computes it anew: where the counter was saved later than the timer, an interrupt comes that the "
        "guest has had.",
        "Save the three registers with the vCPU stopped.",
        "Linux arch/arm64/kvm/arch_timer.c, kvm_timer_should_fire; Arm ARM (DDI 0487), CNTV_CTL_EL0",
    ),
    LintRule(
        "A0508",
        "error",
        "CNTV_CTL_EL0 has reserved bits",
        "ENABLE, IMASK and ISTATUS are defined.",
        "KVM keeps them and the CPU drops them: the guest reads another value.",
        "Clear them.",
        "Arm ARM (DDI 0487), CNTV_CTL_EL0",
    ),
    LintRule(
        "A0509",
        "note",
        "SMCCC_ARCH_WORKAROUND_1 is needed although ID_AA64PFR0_EL1.CSV2 says that it is not",
        "CSV2 of 1 or more means that branch predictors do not take another context's training.",
        "The guest makes hypercalls that cost time, or leaves out a mitigation: which of both it tests first decides.",
        "Restore both from one machine.",
        "Linux arch/arm64/kernel/proton-pack.c, spectre_v2_get_cpu_hw_mitigation_state",
    ),
)
