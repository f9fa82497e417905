"""The TSC's frequency of a vCPU that moves: the call that sets it, and what KVM takes without doing it.

Source: Linux arch/x86/kvm/x86.c, kvm_set_tsc_khz and set_tsc_khz; QEMU target/i386/kvm/kvm.c, kvm_arch_set_tsc_khz.
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.migrate.guest import Guest
from layouts.light import TYPE_CHECKING
from layouts.x86.vmms import Vmm

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu
    from inspector.machine.x86.migrate.destination import Destination

#: QEMU's own bound, whatever kvm.ko's parameter is (freq_within_bounds, target/i386/kvm/kvm.c).
_QEMU_PPM = 250
#: CPUID.8000000A.EDX: the TSC's ratio (X86_FEATURE_TSCRATEMSR, QEMU's tsc-scale).
_TSC_SCALE = 4


def scales(destination: Destination) -> bool | None:
    """Whether its KVM scales TSCs (KVM_CAP_TSC_CONTROL); None where nobody tells: no table of CPUID has it for VMX."""
    kvm = destination.kvm
    if kvm.scales_tsc:
        return True
    if kvm.is_vmx:
        return False if kvm.processor.vmx_flags else None
    told = destination.is_raw or destination.known(0x8000000A, 0, "edx") >> _TSC_SCALE & 1
    return False if told else None


def hangs_on(guest: Guest, destination: Destination) -> str:
    """What the answer hangs on; empty where it is known."""
    khz, host_khz = guest.saved.tsc_khz, destination.kvm.processor.tsc_khz
    if not khz or destination.emulator or scales(destination):
        return ""
    if not host_khz:
        return f"the destination's TSC frequency (the guest's is {khz} kHz)"
    from inspector.machine.x86.kvm import clock

    if not clock.is_near(destination.kvm, khz) and scales(destination) is None:
        return f"whether the destination scales TSCs (the guest's {khz} kHz, the destination's {host_khz} kHz)"
    return ""


def set_tsc_khz(vcpu: WholeVcpu, guest: Guest, destination: Destination, vmm: Vmm) -> Outcome:
    """KVM_SET_TSC_KHZ as the VMM makes it, where the answer hangs on nothing.

    QEMU asks only where KVM scales or the frequencies are near, else it has ENOTSUP by itself.
    """
    khz, host_khz = guest.saved.tsc_khz, destination.kvm.processor.tsc_khz
    if not host_khz:
        rule = Rule("kvm_set_tsc_khz (x86.c)")
        rule.check("KVM scales TSCs (KVM_CAP_TSC_CONTROL), whatever the destination's frequency is", held=True)
        return rule.ok()
    is_near = abs(khz - host_khz) * 1_000_000 <= host_khz * _QEMU_PPM
    if not vmm.sends_cpuid and scales(destination) is False and not is_near:
        rule = Rule("QEMU target/i386/kvm/kvm.c, kvm_arch_set_tsc_khz")
        near = f"within {_QEMU_PPM} ppm of the destination's {host_khz} kHz"
        rule.check(f"KVM scales TSCs (KVM_CAP_TSC_CONTROL), or the guest's {khz} kHz is {near}", held=False)
        return rule.refuse(errno.ENOTSUP)
    from inspector.machine.x86.kvm import clock

    return clock.set_tsc_khz(vcpu, khz)


def lost(guest: Guest, destination: Destination) -> str:
    """What an accepted KVM_SET_TSC_KHZ does not do; empty where the guest's TSC runs as it did.

    Within the tolerance it does, as KVM and QEMU have it: two machines of one kind measure their TSCs some kHz apart,
    which a guest's NTP corrects.
    """
    khz, host_khz = guest.saved.tsc_khz, destination.kvm.processor.tsc_khz
    from inspector.machine.x86.kvm import clock

    if scales(destination) or clock.is_near(destination.kvm, khz):
        return ""
    return (
        f"the guest's TSC has {khz} kHz and runs at the destination's {host_khz}: without TSC scaling KVM puts it "
        "forward at every exit (tsc_always_catchup), and between exits it is slow"
    )
