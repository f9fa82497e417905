"""What sensibly comes after a refused call, or an instruction that traps or is undefined: see ``layouts.next_step``."""

from __future__ import annotations

from layouts.next_step import NextStep

_NEW = ("KVM_CREATE_VM vm={vm}", "KVM_CREATE_VCPU vm={vm}")
_WITH_SVE = (*_NEW, "KVM_ARM_VCPU_INIT PSCI_0_2 SVE vm={vm}", "KVM_ARM_VCPU_FINALIZE SVE vm={vm}")
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
        "EINVAL",
        r"^KVM_ARM_VCPU_INIT (?P<features>[A-Z0-9_]+( [A-Z0-9_]+)*)( |$)",
        "the same features as the VM's first vCPU",
        (*_NEW, "KVM_ARM_VCPU_INIT {features} vm={vm}"),
        "another VM with these features: all vCPUs of a VM have the same",
        "kvm_vcpu_init_check_features, __kvm_vcpu_set_target (arm.c)",
    ),
    NextStep(
        "EINVAL",
        "^KVM_ARM_VCPU_FINALIZE SVE",
        "the vCPU has it",
        _WITH_SVE,
        "another VM, whose vCPU has SVE",
        "kvm_arm_vcpu_finalize (reset.c)",
    ),
    NextStep(
        "ENOENT",
        r"^KVM_[GS]ET_ONE_REG [^=]+$",
        "^the vCPU has SVE$",
        (*_WITH_SVE, "KVM_GET_ONE_REG z0 vm={vm}"),
        "another VM, whose vCPU has SVE",
        "get_sve_reg (guest.c)",
    ),
    NextStep(
        "UNDEF",
        r"^guest (?P<instruction>\w+)",
        "^the vCPU has SVE$",
        (*_WITH_SVE, f"{_ALL_ON} vm={{vm}}", "guest {instruction} vm={vm}"),
        "another VM, whose vCPU has SVE",
        "handle_sve (handle_exit.c)",
    ),
    NextStep(
        "UNDEF",
        r"^guest (?P<instruction>\w+)",
        "^the vCPU has pointer authentication$",
        (*_NEW, "KVM_ARM_VCPU_INIT PSCI_0_2 PTRAUTH_ADDRESS PTRAUTH_GENERIC vm={vm}", "guest {instruction} vm={vm}"),
        "another VM, whose vCPU has both pointer authentication features",
        "kvm_handle_ptrauth (handle_exit.c)",
    ),
    NextStep(
        "EINVAL",
        r"^KVM_ENABLE_CAP (?P<capability>\w+)",
        "^the VM has no vCPU yet$",
        ("KVM_CREATE_VM vm={vm}", "KVM_ENABLE_CAP {capability} vm={vm}", "KVM_CREATE_VCPU vm={vm}"),
        "another VM, with the capability before its first vCPU",
        "kvm_vm_ioctl_enable_cap (arm.c)",
    ),
    NextStep(
        "EINVAL",
        r"^KVM_SET_ONE_REG (?P<register>\w+) (?P<value>\w+)",
        "^the VM has KVM_CAP_ARM_WRITABLE_IMP_ID_REGS$",
        (
            "KVM_CREATE_VM vm={vm}",
            "KVM_ENABLE_CAP ARM_WRITABLE_IMP_ID_REGS vm={vm}",
            "KVM_CREATE_VCPU vm={vm}",
            "KVM_ARM_VCPU_INIT PSCI_0_2 vm={vm}",
            "KVM_SET_ONE_REG {register} {value} vm={vm}",
        ),
        "another VM, with the capability before its first vCPU",
        "set_imp_id_reg (sys_regs.c)",
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
