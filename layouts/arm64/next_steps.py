"""What sensibly comes after a refused call, or an instruction that traps or is undefined: see ``layouts.next_step``."""

from __future__ import annotations

from layouts.next_step import NextStep

_ALL_ON = "guest msr CPACR_EL1 0x3330000"

NEXT_STEPS = (
    NextStep(
        "ENOEXEC",
        "^KVM_",
        "the vCPU is initialized",
        ("KVM_ARM_VCPU_INIT PSCI_0_2", "{again}"),
        "initialize the vCPU, and again",
        "kvm_vcpu_initialized (arm.c)",
    ),
    NextStep(
        "EINVAL",
        "^KVM_ARM_VCPU_INIT ",
        "both pointer authentication features",
        ("KVM_ARM_VCPU_INIT PSCI_0_2 PTRAUTH_ADDRESS PTRAUTH_GENERIC",),
        "with both features",
        "kvm_vcpu_init_check_features (arm.c)",
    ),
    NextStep(
        "EPERM",
        "^KVM_[GS]ET_ONE_REG ",
        "SVE is finalized",
        ("KVM_ARM_VCPU_FINALIZE SVE", "{again}"),
        "finalize SVE, and again: only then there are Z, P and FFR",
        "get_sve_reg, kvm_arm_vcpu_sve_finalized (guest.c)",
    ),
    NextStep(
        "(FP|SVE|SME) trap",
        "^guest ",
        "CPACR_EL1",
        (_ALL_ON, "{again}"),
        "let the guest turn FP, SVE and SME on, and again",
        "Arm ARM, CPACR_EL1",
    ),
    NextStep(
        "EINTR",
        "^KVM_RUN",
        r"a memory slot has the guest's PC \((?P<pc>0x[0-9a-f]+)\)",
        ("KVM_SET_USER_MEMORY_REGION 0 {pc} 0x200000", "{again}"),
        "memory where the guest's PC is, and again",
        "kvm_handle_guest_abort (mmu.c)",
    ),
    NextStep(
        "EINVAL",
        "^KVM_RUN",
        "the PMU was initialized",
        ("KVM_SET_DEVICE_ATTR PMU_V3_INIT", "{again}"),
        "initialize the PMU, and again",
        "kvm_arm_pmu_v3_enable (pmu-emul.c)",
    ),
    NextStep(
        "EINVAL|ENOENT",
        "^KVM_(ARM_VCPU_[GS]ET_SVE_VLS|[GS]ET_ONE_REG ZCR_EL1)",
        "the interface has|a register that the vCPU has",
        ("place policy=proposal",),
        "all events again through SVE's interface as it was proposed",
        "the series of 2017",
    ),
    NextStep(
        "E[A-Z]+|UNDEF",
        "",
        r"\(from (?P<release>\d+\.\d+) on\)",
        ("place kernel={release}",),
        "all events again on the first kernel that has it",
        "inspector layouts kernels",
    ),
)
