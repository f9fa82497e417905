"""A02xx: SVE and SME: lengths, registers and modes against each other."""

from __future__ import annotations

from layouts.lint.rule import LintRule

_VLS = "Linux arch/arm64/kvm/guest.c, set_sve_vls"
_REG = "Linux arch/arm64/kvm/guest.c, set_sve_reg, sve_reg_to_region"
_PTRACE = "Linux arch/arm64/kernel/ptrace.c, sve_set_common, za_set"

RULES = (
    LintRule(
        "A0201",
        "error",
        "SVE registers without the set of vector lengths",
        "Z or P registers are in the list, KVM_REG_ARM64_SVE_VLS is not.",
        "The vCPU is finalized with all lengths of the host: the guest sees another maximum than it ran with, "
        "and processes "
        "whose length was the maximum have larger frames than they allocated.",
        "Save KVM_REG_ARM64_SVE_VLS, and set it before KVM_ARM_VCPU_FINALIZE.",
        _VLS,
    ),
    LintRule(
        "A0202",
        "error",
        "the set of vector lengths is empty",
        "A vCPU with SVE has 128 bits at least.",
        "KVM_SET_ONE_REG answers EINVAL.",
        "Set bit 0 and the others that the guest had.",
        _VLS,
    ),
    LintRule(
        "A0203",
        "error",
        "the set of vector lengths has a length that no CPU has",
        "The architecture ends at 2048 bits: 16 quadwords.",
        "KVM_SET_ONE_REG answers EINVAL.",
        "Clear the bits from 16 up.",
        "Linux arch/arm64/kvm/guest.c, set_sve_vls; arch/arm64/include/uapi/asm/sve_context.h, SVE_VQ_MAX",
    ),
    LintRule(
        "A0204",
        "error",
        "the set of vector lengths leaves out a power of two",
        "A CPU that has a length has every smaller length that is a power of two.",
        "The set must be the host's up to the maximum, and no host is like this: KVM_SET_ONE_REG answers EINVAL.",
        "Add the lengths, or lower the maximum.",
        "Arm ARM (DDI 0487), ZCR_EL1.LEN; " + _VLS,
    ),
    LintRule(
        "A0205",
        "warning",
        "Z registers have bits beyond the largest vector length",
        "KVM gives 2048 bits; those beyond the vCPU's maximum read as zero.",
        "KVM drops them without a word: the registers are not what was saved.",
        "Restore the set of lengths that the registers belong to.",
        _REG,
    ),
    LintRule(
        "A0206",
        "error",
        "some of the SVE registers are missing",
        "The list has Z0 to Z31, P0 to P15 and FFR, or none.",
        "Those that are missing are zero after the restore; so are V0 to V31, which are the low bits of Z.",
        "Save what KVM_GET_REG_LIST names.",
        _REG,
    ),
    LintRule(
        "A0207",
        "error",
        "V registers in the list of a vCPU with SVE",
        "With SVE, V0 to V31 are read and written as Z0 to Z31.",
        "KVM_SET_ONE_REG of core.v answers EINVAL, so the restore stops there.",
        "Leave the V registers out; save Z registers instead.",
        "Linux arch/arm64/kvm/guest.c, core_reg_size_from_offset",
    ),
    LintRule(
        "A0208",
        "error",
        "SVE registers of a slice that KVM does not have",
        "Slice 0 holds all of 2048 bits; the others are for lengths to come.",
        "KVM_SET_ONE_REG answers ENOENT.",
        "Leave them out.",
        _REG,
    ),
    LintRule(
        "A0209",
        "error",
        "SVE registers, and ID_AA64PFR0_EL1 has no SVE",
        "Registers or vector lengths of SVE are in the list.",
        "KVM_SET_ONE_REG answers ENOENT for a vCPU without KVM_ARM_VCPU_SVE; with it, ID_AA64PFR0_EL1.SVE=0 "
        "hides SVE from "
        "a guest that uses it.",
        "Make both agree.",
        _REG,
    ),
    LintRule(
        "A0210",
        "error",
        "ID_AA64PFR0_EL1 has SVE, and no SVE registers are there",
        "The list has V registers or none.",
        "Above 128 bits every vector register of the guest is lost, and all predicates; on a vCPU with SVE KVM "
        "refuses V "
        "registers with EINVAL.",
        "Save what KVM_GET_REG_LIST names after KVM_ARM_VCPU_FINALIZE.",
        "Linux arch/arm64/kvm/guest.c, copy_sve_reg_indices, core_reg_size_from_offset",
    ),
    LintRule(
        "A0211",
        "error",
        "a vector length that is none",
        "Lengths are multiples of 16 bytes from 16 to 256, and not above the note's maximum.",
        "PTRACE_SETREGSET answers EINVAL, or sets a smaller length and drops the registers.",
        "Write the length of the registers.",
        _PTRACE,
    ),
    LintRule(
        "A0212",
        "warning",
        "SVCR says streaming mode, and the registers are not streaming",
        "With SVCR.SM the registers are in the streaming note (NT_ARM_SSVE), else in NT_ARM_SVE.",
        "PTRACE_SETREGSET of the note that has registers switches the mode: the one that is written last wins.",
        "Write SVCR and notes of the same moment.",
        "Linux arch/arm64/kernel/ptrace.c, sve_set_common; Documentation/arch/arm64/sme.rst",
    ),
    LintRule(
        "A0213",
        "warning",
        "SVCR and the ZA note differ on ZA",
        "With SVCR.ZA the note holds the array, without only its header.",
        "PTRACE_SETREGSET of NT_ARM_ZA switches ZA on or off by the note's size: the array is lost, or zeros appear.",
        "Write SVCR and the note of the same moment.",
        "Linux arch/arm64/kernel/ptrace.c, za_set",
    ),
    LintRule(
        "A0214",
        "warning",
        "ZT0 has data while ZA is off",
        "ZT0 is there with SVCR.ZA only.",
        "PTRACE_SETREGSET of NT_ARM_ZT switches ZA on, with an array of zeros.",
        "Leave ZT0 out, or write SVCR of the same moment.",
        "Linux arch/arm64/kernel/ptrace.c, zt_set",
    ),
    LintRule(
        "A0215",
        "error",
        "ZA and the streaming registers have different vector lengths",
        "Both have the streaming vector length.",
        "PTRACE_SETREGSET of one changes the length of the other, which loses its registers.",
        "Write notes of the same moment.",
        "Linux arch/arm64/kernel/ptrace.c, sve_set_common, za_set; Documentation/arch/arm64/sme.rst",
    ),
    LintRule(
        "A0216",
        "note",
        "ZCR_EL1 chooses a length beyond the largest",
        "ZCR_EL1.LEN asks for more quadwords than the vCPU has.",
        "The CPU takes the largest that there is: the guest runs with less than it asked for, as before.",
        "Nothing, if the set of lengths is the guest's.",
        "Arm ARM (DDI 0487), ZCR_EL1.LEN",
    ),
    LintRule(
        "A0217",
        "note",
        "FFR has bits and no predicate registers are there",
        "FFR is state of SVE, as P registers are.",
        "What is restored is half of the state.",
        "Save P0 to P15 as well.",
        _REG,
    ),
)
