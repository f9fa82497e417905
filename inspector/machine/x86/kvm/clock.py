"""KVM_SET_TSC_KHZ and KVM_GET_TSC_KHZ of a vCPU and of a VM, KVM_SET_CLOCK, KVM_KVMCLOCK_CTRL.

Source: Linux arch/x86/kvm/x86.c (kvm_set_tsc_khz, set_tsc_khz, kvm_arch_vm_ioctl, kvm_vm_ioctl_set_clock,
kvm_set_guest_paused).
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.capabilities import of_release
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

_U32 = 0xFFFFFFFF
DEFAULT_TOLERANCE_PPM = 250
#: SVM's TSC ratio has 8 bits before and 32 after the point, VMX's multiplier 48 after.
_SVM_FRACTION_BITS, _SVM_MOST_RATIO = 32, 0xFFFFFFFFFF
_VMX_FRACTION_BITS, _VMX_MOST_RATIO = 48, (1 << 64) - 1
_MOST_KHZ = 0x7FFFFFFF
#: KVM_SET_CLOCK takes none before 5.16, then what KVM_GET_CLOCK gives: TSC_STABLE, REALTIME, HOST_TSC.
CLOCK_FLAGS = (((5, 10), 0), ((5, 16), 0xE))


def _ratio(kvm: Kvm) -> tuple[int, int]:
    """The bits of a TSC ratio after the point, and the greatest ratio."""
    return (_VMX_FRACTION_BITS, _VMX_MOST_RATIO) if kvm.is_vmx else (_SVM_FRACTION_BITS, _SVM_MOST_RATIO)


def _too_fast(kvm: Kvm, khz: int) -> bool:
    """From kvm_caps.max_guest_tsc_khz on."""
    if not kvm.scales_tsc:
        return False
    bits, most = _ratio(kvm)
    return khz >= min(_MOST_KHZ, kvm.processor.tsc_khz * most >> bits)


def tolerance_ppm(kvm: Kvm) -> int:
    """The parameter tsc_tolerance_ppm of kvm.ko."""
    return int(kvm.parameter("tsc_tolerance_ppm") or DEFAULT_TOLERANCE_PPM)


def is_near(kvm: Kvm, khz: int) -> bool:
    """Within the tolerance of the host's frequency: KVM neither scales such a TSC nor puts it forward."""
    tolerance = tolerance_ppm(kvm)
    low, high = (kvm.processor.tsc_khz * (1_000_000 + ppm) // 1_000_000 for ppm in (-tolerance, tolerance))
    return low <= khz <= high


def set_tsc_khz(vcpu: WholeVcpu, khz: int) -> Outcome:
    """KVM_SET_TSC_KHZ on a vCPU: GET tells the new frequency also where it was refused for its ratio."""
    rule = Rule("kvm_arch_vcpu_ioctl, kvm_set_tsc_khz, set_tsc_khz (x86.c)")
    kvm, host_khz = vcpu.kvm, vcpu.kvm.processor.tsc_khz
    khz = khz & _U32
    if not rule.check("below the greatest frequency that the processor scales to", not _too_fast(kvm, khz)):
        return rule.refuse(errno.EINVAL)
    khz = khz or host_khz
    if not rule.check("the host's frequency is known", khz):
        return rule.refuse(errno.EINVAL)
    vcpu.tsc_khz = khz
    if rule.check(f"within {tolerance_ppm(kvm)} ppm of the host's {host_khz} kHz", is_near(kvm, khz)):
        return rule.ok()
    if not kvm.scales_tsc:
        faster = rule.check("without TSC scaling only a faster TSC can be given (tsc_always_catchup)", khz > host_khz)
        return rule.ok() if faster else rule.refuse(errno.EINVAL)
    bits, most = _ratio(kvm)
    ratio = (khz << bits) // host_khz
    return (
        rule.ok() if rule.check("the ratio is one of the processor's", 0 < ratio < most) else rule.refuse(errno.EINVAL)
    )


def set_vm_tsc_khz(kvm: Kvm, khz: int, *, has_vcpus: bool) -> Outcome:
    """KVM_SET_TSC_KHZ on a VM (from 5.18 on): the frequency of vCPUs to come; from 6.17 on only before them."""
    rule = Rule("kvm_arch_vm_ioctl (x86.c)")
    if not rule.check("the kernel knows the ioctl of a VM (from 5.18 on)", kvm.since(5, 18)):
        return rule.refuse(errno.ENOTTY)
    held = rule.check(
        "below the greatest frequency that the processor scales to", not _too_fast(kvm, khz & _U32)
    ) and rule.check("before the first vCPU (from 6.17 on)", not (has_vcpus and kvm.since(6, 17)))
    return rule.ok() if held else rule.refuse(errno.EINVAL)


def set_clock(kvm: Kvm, flags: int) -> Outcome:
    """KVM_SET_CLOCK: any clock, known flags."""
    rule = Rule("kvm_vm_ioctl_set_clock (x86.c)")
    known = of_release(kvm, CLOCK_FLAGS)
    return rule.ok() if rule.check(f"no flags but {known:#x}", not flags & ~known) else rule.refuse(errno.EINVAL)


def kvmclock_ctrl(vcpu: WholeVcpu) -> Outcome:
    """KVM_KVMCLOCK_CTRL: the guest has a kvmclock (MSR_KVM_SYSTEM_TIME, or the new number)."""
    rule = Rule("kvm_set_guest_paused (x86.c)")
    on = any(vcpu.msrs.get(index, 0) & 1 for index in (0x12, 0x4B564D01))
    return rule.ok() if rule.check("the guest has turned its kvmclock on", on) else rule.refuse(errno.EINVAL)
