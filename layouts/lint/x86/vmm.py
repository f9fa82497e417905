"""X07xx: what one VMM loses or refuses of such a state. Asked with ``--vmm``."""

from __future__ import annotations

from layouts.lint.rule import LintRule

RULES = (
    LintRule(
        "X0701",
        "warning",
        "Firecracker before 1.16 does not save IA32_XSS",
        "The guest's CPUID has XSAVES with supervisor states, which IA32_XSS switches on.",
        "IA32_XSS is 0 after the restore: the guest's kernel reports a bad FPU state at XRSTORS and processes die.",
        "Take snapshots with a Firecracker that saves it, or hide XSAVES by a CPU template.",
        "github.com/firecracker-microvm/firecracker, pull request 5972",
        ("firecracker",),
    ),
    LintRule(
        "X0702",
        "error",
        "Cloud Hypervisor does not migrate AMX tiles",
        "XCR0 enables tiles: the image is longer than struct kvm_xsave.",
        "Live migration fails, or the tiles are cut off.",
        "Run the guest without --cpus features=amx, or move it shut down.",
        "github.com/cloud-hypervisor/cloud-hypervisor, issue 5800",
        ("cloud-hypervisor",),
    ),
    LintRule(
        "X0703",
        "warning",
        "QEMU goes on when KVM_SET_XSAVE is refused",
        "Something in the image makes KVM_SET_XSAVE answer EINVAL.",
        "QEMU before 8.2 ignores the error on the destination: the migration succeeds and the guest has the "
        "registers of a "
        "fresh vCPU, without a word.",
        "Mend what other findings tell of the image, or use a QEMU that stops.",
        "QEMU target/i386/kvm/kvm.c, kvm_arch_put_registers; Linux KVM list, PKRU and KVM_SET_XSAVE",
        ("qemu",),
    ),
    LintRule(
        "X0704",
        "warning",
        "QEMU does not migrate an invariant TSC without a frequency",
        "CPUID offers the invariant TSC, and the capture has no TSC frequency.",
        "QEMU blocks migration and savevm (State blocked by non-migratable CPU device (invtsc flag)).",
        "Give -cpu tsc-frequency=..., or leave invtsc off.",
        "QEMU target/i386/kvm/kvm.c, kvm_arch_init_vcpu, invtsc_mig_blocker",
        ("qemu",),
    ),
    LintRule(
        "X0705",
        "error",
        "QEMU stops when an MSR is refused",
        "The list has an MSR value that KVM_SET_MSRS refuses.",
        "QEMU prints error: failed to set MSR and aborts on an assertion, on the destination.",
        "Mend what other findings tell of the MSR.",
        "QEMU target/i386/kvm/kvm.c, kvm_buf_set_msrs",
        ("qemu",),
    ),
    LintRule(
        "X0706",
        "warning",
        "Cloud Hypervisor and Firecracker do not restore nested state",
        "The guest is a hypervisor: EFER.SVME or CR4.VMXE is set.",
        "A nested guest that runs is lost: its registers go on as the hypervisor's.",
        "Move such guests shut down.",
        "github.com/cloud-hypervisor/cloud-hypervisor, issues 7074 and 7380",
        ("cloud-hypervisor", "firecracker"),
    ),
)
