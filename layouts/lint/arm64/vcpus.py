"""A04xx: vCPUs of one machine against each other."""

from __future__ import annotations

from layouts.lint.rule import LintRule

RULES = (
    LintRule(
        "A0401",
        "error",
        "ID registers differ over vCPUs",
        "KVM has one set of ID registers for a VM; MIDR, REVIDR and AIDR too, where they can be written.",
        "A write through one vCPU shows in all: the last one wins. Linux guests taint themselves when CPUs differ.",
        "Write one set.",
        "Linux arch/arm64/kvm/sys_regs.c, set_id_reg, kvm_read_vm_id_reg; arch/arm64/kernel/cpufeature.c, "
        "update_cpu_features",
    ),
    LintRule(
        "A0402",
        "error",
        "two vCPUs have one MPIDR_EL1",
        "The affinity is the address of a CPU.",
        "PSCI CPU_ON and interrupts reach the first; Linux guests do not start the other.",
        "Give each vCPU its own affinity.",
        "Linux arch/arm64/kvm/arm.c, kvm_mpidr_to_vcpu; arch/arm64/kernel/smp.c, of_parse_and_init_cpus",
    ),
    LintRule(
        "A0403",
        "error",
        "vector lengths differ over vCPUs",
        "Linux needs the same set on each CPU.",
        "The guest's kernel takes the common ones at boot and does not look again: a thread that moves has "
        "another length.",
        "Set the same KVM_REG_ARM64_SVE_VLS on each vCPU.",
        "Linux arch/arm64/kernel/fpsimd.c, vec_verify_vq_map",
    ),
    LintRule(
        "A0404",
        "error",
        "firmware registers differ over vCPUs",
        "PSCI version and bitmaps of hypercalls are the VM's.",
        "A write through one vCPU shows in all: the last one wins.",
        "Write one set.",
        "Linux arch/arm64/kvm/hypercalls.c, kvm_arm_set_fw_reg, kvm_arm_set_fw_reg_bmap",
    ),
    LintRule(
        "A0405",
        "warning",
        "the virtual counter is more than a second apart on two vCPUs",
        "CNTVCT_EL0 was read at different times, or the offsets differ.",
        "KVM has one offset for a VM and sets it by each write: the last one wins, and for the guest time jumps.",
        "Stop all vCPUs before they are saved; use KVM_ARM_SET_COUNTER_OFFSET.",
        "Linux arch/arm64/kvm/arch_timer.c, kvm_arm_timer_set_reg, timer_set_offset",
    ),
    LintRule(
        "A0406",
        "warning",
        "PMCR_EL0.N differs over vCPUs",
        "The number of counters is the VM's.",
        "A write through one vCPU shows in all: the last one wins.",
        "Write one number.",
        "Linux arch/arm64/kvm/sys_regs.c, set_pmcr",
    ),
)

#: A counter's ticks in a second at most: 1 GHz from Armv8.6 on (Arm ARM, D12.1.1).
COUNTER_HZ = 1_000_000_000
