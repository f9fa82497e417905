"""What VMMs do when they restore an x86 vCPU: whose CPUID the guest gets, and what becomes of a refused call, as data.

Each entry says where it was read. A version is the first in which it is so.
"""

from __future__ import annotations

from layouts.light import Literal, NamedTuple
from layouts.vmms import OnRefusal

#: What a VMM compares before it makes a vCPU: nothing, every feature by name, or registers of CPUID.
Compares = Literal["nothing", "names", "registers"]


class Vmm(NamedTuple):
    """A VMM. ``sends_cpuid``: the guest's CPUID is part of what moves; else the destination makes it of its own line.

    ``newest`` is the version that answers where nobody names one. ``moves_nested`` is the first version that sets
    nested state; empty for none. QEMU's is VMX's (nested state of SVM came with commit b16c0e20c742 in 5.1, and works
    since 5.2 gave it its own format).
    """

    name: str
    title: str
    sends_cpuid: bool
    compares: Compares
    newest: str
    refusals: tuple[OnRefusal, ...]
    source: str
    moves_nested: str = ""

    def on_refusal(self, call: str) -> OnRefusal:
        """What the newest version does with this call refused; ``history`` has what older ones did."""
        return self.history(call)[0]

    def history(self, call: str) -> tuple[OnRefusal, ...]:
        """What versions do with this call refused, the newest first."""
        own = tuple(entry for entry in self.refusals if call in entry.calls)
        return own or tuple(entry for entry in self.refusals if not entry.calls)


#: The releases of QEMU whose source was read (Debian's 5.2.0, 7.2.0, 10.0.13 and 10.2.2). What changed between them
#: is dated by its commit: 8.2 has 7191f24c7fcf (queued on 27 September 2023, 8.1 being out), 9.2 the errors that name
#: what failed (qemu-devel, 27 September 2024, 9.1 being out), 10.2 kvm_cpu_synchronize_put (pulled on 14 October 2025,
#: 10.1 being out).
_READ = ("5.2", "7.2", "10.0", "10.2")

_QEMU = (
    OnRefusal(
        "2.6",
        "abort",
        "QEMU prints `error: failed to set MSR 0x... to 0x...` and dies of an assertion",
        "QEMU target/i386/kvm/kvm.c, kvm_buf_set_msrs",
        ("msrs",),
        _READ,
    ),
    OnRefusal(
        "2.6",
        "lost",
        "QEMU warns `TSC frequency mismatch between VM (... kHz) and host (... kHz), and TSC scaling unavailable` and "
        "goes on: the guest's TSC runs at the destination's frequency (tsc-frequency= makes it an error)",
        "QEMU target/i386/kvm/kvm.c, kvm_arch_set_tsc_khz, kvm_arch_put_registers",
        ("tsc_khz",),
        _READ,
    ),
    OnRefusal(
        "10.2",
        "abort",
        # So it is spelled there.
        "QEMU prints which registers failed (`Restoring resisters after init: ...`) and exits",
        "QEMU accel/kvm/kvm-all.c, kvm_cpu_synchronize_put",
        read_in=("10.2",),
    ),
    OnRefusal(
        "9.2",
        "abort",
        "QEMU prints which registers failed (`Putting registers after init: ...`) and exits",
        "QEMU accel/kvm/kvm-all.c, do_kvm_cpu_synchronize_post_init",
        read_in=("10.0",),
    ),
    OnRefusal(
        "8.2",
        "abort",
        "QEMU prints `Failed to put registers after init: Invalid argument` and exits",
        "QEMU accel/kvm/kvm-all.c, do_kvm_cpu_synchronize_post_init",
    ),
    OnRefusal(
        "2.6",
        "lost",
        "QEMU says nothing, makes none of the later calls, and runs the guest",
        "QEMU accel/kvm/kvm-all.c, do_kvm_cpu_synchronize_post_init: nobody looks at the answer",
        read_in=("5.2", "7.2"),
    ),
)

VMMS = {
    vmm.name: vmm
    for vmm in (
        Vmm(
            "qemu",
            "QEMU",
            sends_cpuid=False,
            compares="nothing",
            newest="11.1",
            refusals=_QEMU,
            source="QEMU target/i386/kvm/kvm.c, kvm_arch_put_registers",
            moves_nested="4.1",
        ),
        Vmm(
            "libvirt",
            "libvirt",
            sends_cpuid=False,
            compares="names",
            newest="12.8",
            refusals=_QEMU,
            source="libvirt src/qemu/qemu_process.c, qemuProcessVerifyGuestCPU; the calls are QEMU's",
            moves_nested="4.1",
        ),
        Vmm(
            "cloud-hypervisor",
            "Cloud Hypervisor",
            sends_cpuid=True,
            compares="registers",
            newest="53",
            refusals=(
                OnRefusal(
                    "0.9",
                    "skip",
                    "Cloud Hypervisor warns `Detected faulty MSR 0x... while setting MSRs` and goes on without it",
                    "Cloud Hypervisor hypervisor/src/kvm/mod.rs, set_state of v0.9.0 to v53.0",
                    ("msrs",),
                ),
                OnRefusal(
                    "0.9",
                    "abort",
                    "Cloud Hypervisor ends the restore with the call's errno",
                    "Cloud Hypervisor hypervisor/src/kvm/mod.rs, set_state of v0.9.0 to v53.0",
                ),
            ),
            source="Cloud Hypervisor hypervisor/src/kvm/mod.rs, set_state of v53.0",
            # KVM_SET_NESTED_STATE in set_state: in v49.0, not in v48.0.
            moves_nested="49",
        ),
        Vmm(
            "firecracker",
            "Firecracker",
            sends_cpuid=True,
            compares="nothing",
            newest="1.16",
            refusals=(
                OnRefusal(
                    "1.2",
                    "abort",
                    "Firecracker: `Failed to set all KVM MSRs for this vCPU. Only a partial write was done.`",
                    "Firecracker src/vmm/src/arch/x86_64/vcpu.rs (to 1.10 vstate/vcpu/x86_64.rs), restore_state",
                    ("msrs",),
                ),
                OnRefusal(
                    "0.23",
                    "lost",
                    "Firecracker does not look at how many MSRs were set, and runs the guest without the rest",
                    "Firecracker src/vmm/src/vstate/vcpu/x86_64.rs, restore_state of v0.23.0 to v1.1.0",
                    ("msrs",),
                ),
                OnRefusal(
                    "0.23",
                    "abort",
                    "Firecracker ends the load of the snapshot with the call's errno",
                    "Firecracker src/vmm/src/arch/x86_64/vcpu.rs (to 1.10 vstate/vcpu/x86_64.rs), restore_state",
                ),
            ),
            source="Firecracker src/vmm/src/arch/x86_64/vcpu.rs, restore_state of v1.16.0",
        ),
    )
}

#: The registers that Cloud Hypervisor compares: leaf, sub-leaf, register, and how (``and``: the source's bits are a
#: subset, ``at_most``: as a number, ``equal``). What comes after 53 compares 7.1.ECX and EDX, 7.2.EDX, 1D.0 and 1E too.
#: Source: Cloud Hypervisor arch/src/x86_64/mod.rs, checked_feature_entry_list of v20.0 to v53.0.
CLOUD_HYPERVISOR_COMPARES: dict[tuple[int, int, str], str] = {
    (1, 0, "ecx"): "and",
    (1, 0, "edx"): "and",
    (7, 0, "eax"): "at_most",
    (7, 0, "ebx"): "and",
    (7, 0, "ecx"): "and",
    (7, 0, "edx"): "and",
    (7, 1, "eax"): "and",
    (0x80000001, 0, "ecx"): "and",
    (0x80000001, 0, "edx"): "and",
    (0x40000000, 0, "eax"): "at_most",
    (0x40000000, 0, "ebx"): "equal",
    (0x40000000, 0, "ecx"): "equal",
    (0x40000000, 0, "edx"): "equal",
    (0x40000001, 0, "eax"): "and",
    (0x40000001, 0, "ebx"): "and",
    (0x40000001, 0, "ecx"): "and",
    (0x40000001, 0, "edx"): "and",
}
