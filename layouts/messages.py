"""What VMMs and kernels print when a vCPU does not start or arrive, and where to go on from it, as data.

A message is known by words of it that every version prints; numbers and names in it may be any.
"""

from __future__ import annotations

from layouts.light import NamedTuple


class Message(NamedTuple):
    """A message: ``text`` as it is printed, ``words`` by which it is known, what it means, and what to do.

    ``commands`` are ours, with CAPTURE, HOST, LINE for the user's own. ``page`` and ``section`` are of our docs.
    """

    text: str
    words: str
    meaning: str
    commands: tuple[str, ...]
    page: str
    section: str
    source: str


MESSAGES = (
    Message(
        "error: failed to set MSR 0x1dd to 0x0",
        "failed to set MSR",
        "QEMU: KVM_SET_MSRS took the MSRs before this one, refused it, and the rest was not tried",
        ("inspector migrate CAPTURE HOST",),
        "x86-migration",
        "failed-to-set-msr",
        "QEMU target/i386/kvm/kvm.c, kvm_buf_set_msrs",
    ),
    Message(
        "warning: host doesn't support requested feature: CPUID[eax=01h].ECX.pcid [bit 17]",
        "doesn't support requested feature",
        "QEMU: the line asks for a feature that the host or its KVM does not have; without enforce the guest starts "
        "without it",
        ("inspector models check LINE --host HOST", "inspector migrate CAPTURE HOST --model LINE"),
        "x86-migration",
        "host-doesnt-support-requested-feature",
        "QEMU target/i386/cpu.c, mark_unavailable_features",
    ),
    Message(
        "Failed to set XSAVE: Invalid argument",
        "Failed to set XSAVE",
        "QEMU: KVM_SET_XSAVE refused the image; it has a component, or a bit of MXCSR, that the destination does not",
        ("inspector migrate CAPTURE HOST", "inspector lint CAPTURE"),
        "x86-migration",
        "failed-to-set-xsave",
        "QEMU target/i386/kvm/kvm.c, kvm_arch_put_registers",
    ),
    Message(
        "guest CPU doesn't match specification: missing features: pcid",
        "CPU doesn't match specification",
        "libvirt: QEMU gave the guest other features than the domain's XML asks for, with check='full'",
        ("inspector migrate CAPTURE HOST --vmm libvirt", "inspector models check DOMAIN.xml --host HOST"),
        "x86-migration",
        "guest-cpu-doesnt-match-specification",
        "libvirt src/cpu/cpu_x86.c, virCPUx86UpdateLive",
    ),
    Message(
        "the CPU is incompatible with host CPU: Host CPU does not provide required features: avx512f",
        "CPU is incompatible with host CPU",
        "libvirt: the host's model lacks features of the domain's, before QEMU was started",
        ("inspector models check DOMAIN.xml --host HOST",),
        "x86-models",
        "",
        "libvirt src/cpu/cpu_x86.c, virCPUx86Compare",
    ),
    Message(
        "Failed to put registers after init: Invalid argument",
        "Failed to put registers after init",
        "QEMU 8.2 to 9.1: a call that restores the vCPU was refused, and which is not said; on arm64 also where an ID "
        "register is one that the host's kernel does not take",
        ("inspector migrate CAPTURE HOST", "inspector sim arm64-put-registers"),
        "x86-migration",
        "what-each-vmm-does",
        "QEMU accel/kvm/kvm-all.c, do_kvm_cpu_synchronize_post_init",
    ),
    Message(
        "error while loading state for instance 0x0 of device 'cpu'",
        "error while loading state for instance of device 'cpu'",
        "QEMU: the stream's CPU does not fit; on arm64 a register that KVM_SET_ONE_REG refused, or one that the "
        "destination does not have",
        ("inspector migrate CAPTURE HOST",),
        "arm64-will-not-migrate",
        "",
        "QEMU migration/savevm.c, vmstate_load; target/arm/machine.c, cpu_post_load",
    ),
    Message(
        "TSC frequency mismatch between VM (2600000 kHz) and host (2000000 kHz), and TSC scaling unavailable",
        "TSC frequency mismatch",
        "QEMU: KVM_SET_TSC_KHZ was refused; the guest's TSC runs at the destination's frequency from here on",
        ("inspector migrate CAPTURE HOST",),
        "x86-migration",
        "silence",
        "QEMU target/i386/kvm/kvm.c, kvm_arch_set_tsc_khz",
    ),
    Message(
        "Failed to set all KVM MSRs for this vCPU. Only a partial write was done.",
        "Failed to set all KVM MSRs",
        "Firecracker: KVM_SET_MSRS refused one; which is not said",
        ("inspector migrate CAPTURE HOST --vmm firecracker",),
        "x86-migration",
        "failed-to-set-msr",
        "Firecracker src/vmm/src/arch/x86_64/vcpu.rs, restore_state",
    ),
    Message(
        "Detected faulty MSR 0x1dd while setting MSRs",
        "Detected faulty MSR",
        "Cloud Hypervisor: KVM_SET_MSRS refused it; the guest goes on with that MSR lost",
        ("inspector migrate CAPTURE HOST --vmm cloud-hypervisor",),
        "x86-migration",
        "what-each-vmm-does",
        "Cloud Hypervisor hypervisor/src/kvm/mod.rs, set_state",
    ),
    Message(
        "Illegal instruction (core dumped)",
        "Illegal instruction",
        "SIGILL: of an AMX instruction in most cases a permission that nobody asked for, in the guest or in its VMM",
        ("inspector sim process-sigill", "inspector open CORE", "inspector tour"),
        "sigill",
        "",
        "Linux arch/x86/kernel/traps.c, handle_xfd_event",
    ),
)


def message_in(text: str) -> Message | None:
    """The message that a line is, or has in it; None where it is none of these."""
    return next((one for one in MESSAGES if _is_in(one, text)), None)


def _is_in(message: Message, text: str) -> bool:
    """The words of a message come in a text, in order and as words."""
    words = iter(text.lower().split())
    return all(any(_bare(word) == other for word in words) for other in map(_bare, message.words.lower().split()))


def _bare(word: str) -> str:
    """A word without the quotes and stops around it."""
    return word.strip("`'\".,:;()")
