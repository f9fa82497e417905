"""KVM_ENABLE_CAP on a VM and on a vCPU: one function a capability.

Source: Linux virt/kvm/kvm_main.c (kvm_vm_ioctl_enable_cap_generic), arch/x86/kvm/x86.c (kvm_vm_ioctl_enable_cap,
kvm_vcpu_ioctl_enable_cap), with the options of Debian's kernels: SMM, Xen, Hyper-V, SGX, the dirty ring.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.capabilities import allowed_disable_exits, enlightens_vmcs, of_release, supported_quirks
from inspector.machine.x86.kvm.msrs.hyperv import SYNIC_CAPS, activate_synic
from layouts.light import partial
from layouts.x86.capabilities import BY_RELEASE, NUMBERS

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu

_U32 = 0xFFFFFFFF
_IRQCHIP_NONE, _IRQCHIP_SPLIT = 0, 2
_RESERVED_IOAPIC_PINS, _IRQ_ROUTES = 48, 4096
_DISABLE_EXITS_BEFORE_6_16 = 0xF
_SUPPRESS_EOI, _NO_SUPPRESS_EOI = 4, 8
_MOST_BUS_CYCLE_NS = ((1 << 64) - 1) // (_U32 * 128)
#: Entries of a dirty ring that stay free: KVM_DIRTY_RING_RSVD_ENTRIES, and as many as VMX's page modification log has.
_RING_ENTRY_SIZE_BYTES, _RING_RESERVED, _PML_ENTRIES = 16, 64, 512
Check = Callable[["Kvm", "VmConfig", int, Rule], int]


def enable_vm_cap(kvm: Kvm, vm: VmConfig, cap: int, arg: int = 0, flags: int = 0) -> Outcome:
    """KVM_ENABLE_CAP on a VM with args[0] = ``arg``; what is turned on stays in ``vm``."""
    rule = Rule("kvm_vm_ioctl_enable_cap_generic (kvm_main.c), kvm_vm_ioctl_enable_cap (x86.c)")
    since, check = VM_CAPS.get(cap, ((99, 0), _none))
    known = rule.check("a capability that can be turned on for a VM, in this release", kvm.since(*since))
    # kvm_vm_ioctl_enable_cap_generic passes the ring's size on and looks at no flags.
    if not known or not (check is _dirty_ring or rule.check("no flags", not flags)):
        return rule.refuse(errno.EINVAL)
    code = check(kvm, vm, arg, rule)
    if code:
        return rule.refuse(code)
    vm.caps[cap] = arg
    return rule.ok()


def enable_vcpu_cap(vcpu: WholeVcpu, cap: int, arg: int = 0, flags: int = 0) -> Outcome:
    """KVM_ENABLE_CAP on a vCPU."""
    rule = Rule("kvm_vcpu_ioctl_enable_cap (x86.c)")
    if not rule.check("no flags", not flags):
        return rule.refuse(errno.EINVAL)
    code = _vcpu_cap(vcpu, cap, arg, rule)
    if code:
        return rule.refuse(code)
    vcpu.caps[cap] = arg
    if cap in SYNIC_CAPS:
        activate_synic(vcpu)
    return rule.ok()


def _vcpu_cap(vcpu: WholeVcpu, cap: int, arg: int, rule: Rule) -> int:
    name = NUMBERS.get(cap, "")
    if name == "HYPERV_SYNIC2" and not rule.check("args[0] is 0", not arg):
        return errno.EINVAL
    if name in ("HYPERV_SYNIC", "HYPERV_SYNIC2"):
        return 0 if rule.check("the VM has KVM's local APICs", vcpu.vm.has_lapic) else errno.EINVAL
    if name == "HYPERV_ENLIGHTENED_VMCS":
        if not rule.check("KVM nests on VMX, for Hyper-V's VMCS", enlightens_vmcs(vcpu.kvm)):
            return errno.ENOTTY
        return 0 if rule.check("args[0] points to memory of the VMM", _is_memory(arg)) else errno.EFAULT
    if name == "HYPERV_DIRECT_TLBFLUSH":
        rule.check("KVM itself runs on Hyper-V", held=False)
        return errno.ENOTTY
    if name == "ENFORCE_PV_FEATURE_CPUID":
        return 0
    known = name == "HYPERV_ENFORCE_CPUID" and vcpu.kvm.since(5, 14)
    return 0 if rule.check("a capability that can be turned on for a vCPU, in this release", known) else errno.EINVAL


def _is_memory(pointer: int) -> bool:
    """Pointers that no VMM has: the first page, and the kernel's half."""
    return 0x1000 <= pointer < 1 << 47


def _none(_kvm: Kvm, _vm: VmConfig, _arg: int, _rule: Rule) -> int:
    return errno.EINVAL


def _any(_kvm: Kvm, _vm: VmConfig, _arg: int, _rule: Rule) -> int:
    return 0


def _within(mask: int, _kvm: Kvm, _vm: VmConfig, arg: int, rule: Rule) -> int:
    return 0 if rule.check(f"args[0] has no bits but {mask:#x}", not arg & ~mask) else errno.EINVAL


def _before_vcpus(vm: VmConfig, rule: Rule) -> bool:
    return rule.check("before the first vCPU", not vm.vcpu_ids)


def _quirks(kvm: Kvm, vm: VmConfig, arg: int, _rule: Rule) -> int:
    """KVM_CAP_DISABLE_QUIRKS: from 6.12 on quirks only go, and only those that KVM knows."""
    if kvm.since(6, 12):
        vm.disabled_quirks |= arg & supported_quirks(kvm)
    else:
        vm.disabled_quirks = arg
    return 0


def _quirks2(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    return _within(supported_quirks(kvm), kvm, vm, arg, rule) or _quirks(kvm, vm, arg, rule)


def _split(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    most = _IRQ_ROUTES if kvm.since(7, 0) else _RESERVED_IOAPIC_PINS
    if not rule.check(f"at most {most} pins", arg <= most):
        return errno.EINVAL
    none = rule.check("the VM has no interrupt controllers of KVM yet", vm.irqchip == _IRQCHIP_NONE)
    if not none or not _before_vcpus(vm, rule):
        return errno.EEXIST
    vm.irqchip = _IRQCHIP_SPLIT
    return 0


def _x2apic_api(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    if not kvm.since(6, 19):
        return _within(3, kvm, vm, arg, rule)
    held = not _within(0xF, kvm, vm, arg, rule)
    if held and arg & _SUPPRESS_EOI:
        held = rule.check("not on and off", not arg & _NO_SUPPRESS_EOI) and rule.check(
            "broadcasts of EOI end only where the I/O APIC is the VMM's", vm.irqchip == _IRQCHIP_SPLIT
        )
    return 0 if held else errno.EINVAL


def _disable_exits(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    """From 6.16 on only what KVM_CHECK_EXTENSION tells, and only before vCPUs."""
    if not kvm.since(6, 16):
        return _within(_DISABLE_EXITS_BEFORE_6_16, kvm, vm, arg, rule)
    held = not _within(allowed_disable_exits(kvm), kvm, vm, arg, rule) and _before_vcpus(vm, rule)
    return 0 if held else errno.EINVAL


def _dirty_log(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    """KVM_DIRTY_LOG_INITIALLY_SET only with KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE."""
    return _within(3 if arg & 1 else 1, kvm, vm, arg, rule)


def _bus_lock(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    held = not _within(3, kvm, vm, arg, rule) and rule.check("not off and exit", arg != 3)
    return 0 if held else errno.EINVAL


def _descriptor(kvm: Kvm, _vm: VmConfig, _arg: int, rule: Rule) -> int:
    """A file descriptor of another VM with SEV, which is AMD's."""
    if not rule.check("kvm-amd", kvm.is_svm):
        return errno.EINVAL
    rule.check("args[0] is a file descriptor of a VM", held=False)
    return errno.EBADF


def _sgx(_kvm: Kvm, _vm: VmConfig, _arg: int, rule: Rule) -> int:
    rule.check("args[0] is a file descriptor of /dev/sgx_provision", held=False)
    return errno.EINVAL


def _pmu(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    held = rule.check("KVM has a PMU for guests (enable_pmu)", kvm.is_on("enable_pmu"))
    held = held and not _within(1, kvm, vm, arg, rule) and _before_vcpus(vm, rule)
    return 0 if held else errno.EINVAL


def _max_vcpu_id(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    """It is set once, by the first vCPU to the greatest; setting the same again, or 0 before, is no change."""
    most = of_release(kvm, BY_RELEASE["MAX_VCPU_ID"])
    had = vm.caps.get(_NUMBER["MAX_VCPU_ID"], 0) or (most if vm.vcpu_ids else 0)
    held = rule.check(f"at most {most}", arg <= most) and rule.check(
        "it is not set yet, or is the same", had in (0, arg)
    )
    return 0 if held else errno.EINVAL


def _notify(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    low = arg & _U32
    held = not _within(3, kvm, vm, low, rule) and rule.check(
        "the processor has notify VM exits", kvm.is_vmx and kvm.has_notify_vmexit
    )
    held = held and rule.check("KVM_X86_NOTIFY_VMEXIT_ENABLED is set", low & 1) and _before_vcpus(vm, rule)
    return 0 if held else errno.EINVAL


def _nx_huge_pages(_kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    """The VMM is taken to have CAP_SYS_BOOT."""
    return 0 if rule.check("args[0] is 0", not arg) and _before_vcpus(vm, rule) else errno.EINVAL


def _bus_cycles(_kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    if not rule.check(f"1 to {_MOST_BUS_CYCLE_NS} ns", 0 < arg <= _MOST_BUS_CYCLE_NS):
        return errno.EINVAL
    if not rule.check("the VM has KVM's local APICs", vm.has_lapic):
        return errno.ENXIO
    return 0 if _before_vcpus(vm, rule) else errno.EINVAL


def _dirty_ring(kvm: Kvm, vm: VmConfig, arg: int, rule: Rule) -> int:
    """kvm_vm_ioctl_enable_dirty_log_ring; with VMX's page modification log a ring has more entries that stay free."""
    size = arg & _U32
    reserved = _RING_RESERVED + (_PML_ENTRIES if kvm.is_vmx and kvm.is_on("pml") else 0)
    least = max(4096, reserved * _RING_ENTRY_SIZE_BYTES)
    held = rule.check("a power of two", size and not size & (size - 1)) and rule.check(
        f"{least} bytes at least", size >= least
    )
    if not held:
        return errno.EINVAL
    if not rule.check("at most 65536 entries of 16 bytes", size <= 1 << 20):
        return errno.E2BIG
    is_first = rule.check("the ring's size is not set yet", not any(vm.caps.get(cap) for cap in _RINGS))
    return 0 if is_first and _before_vcpus(vm, rule) else errno.EINVAL


_NUMBER = {name: number for number, name in NUMBERS.items()}
_RINGS = (_NUMBER["DIRTY_LOG_RING"], _NUMBER["DIRTY_LOG_RING_ACQ_REL"])
#: By number: since when, and the check that gives the errno.
VM_CAPS: dict[int, tuple[tuple[int, int], Check]] = {
    _NUMBER[name]: (since, check)
    for name, since, check in (
        ("DISABLE_QUIRKS", (5, 10), _quirks),
        ("SPLIT_IRQCHIP", (5, 10), _split),
        ("MAX_VCPU_ID", (6, 0), _max_vcpu_id),
        ("X2APIC_API", (5, 10), _x2apic_api),
        ("X86_DISABLE_EXITS", (5, 10), _disable_exits),
        ("MSR_PLATFORM_INFO", (5, 10), _any),
        ("EXCEPTION_PAYLOAD", (5, 10), _any),
        ("MANUAL_DIRTY_LOG_PROTECT2", (5, 10), _dirty_log),
        ("HALT_POLL", (5, 10), partial(_within, _U32)),
        ("X86_USER_SPACE_MSR", (5, 10), partial(_within, 7)),
        ("DIRTY_LOG_RING", (5, 11), _dirty_ring),
        ("X86_BUS_LOCK_EXIT", (5, 11), _bus_lock),
        ("SGX_ATTRIBUTE", (5, 13), _sgx),
        ("VM_COPY_ENC_CONTEXT_FROM", (5, 13), _descriptor),
        ("EXIT_HYPERCALL", (5, 14), partial(_within, 1 << 12)),
        ("EXIT_ON_EMULATION_FAILURE", (5, 14), partial(_within, 1)),
        ("VM_MOVE_ENC_CONTEXT_FROM", (5, 16), _descriptor),
        ("PMU_CAPABILITY", (5, 18), _pmu),
        ("DISABLE_QUIRKS2", (5, 18), _quirks2),
        ("X86_TRIPLE_FAULT_EVENT", (6, 0), _any),
        ("X86_NOTIFY_VMEXIT", (6, 0), _notify),
        ("VM_DISABLE_NX_HUGE_PAGES", (6, 0), _nx_huge_pages),
        ("DIRTY_LOG_RING_ACQ_REL", (6, 1), _dirty_ring),
        ("X86_APIC_BUS_CYCLES_NS", (6, 11), _bus_cycles),
    )
}
