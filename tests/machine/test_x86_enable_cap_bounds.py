"""KVM_ENABLE_CAP on x86: what each capability is refused for, by release, vendor and VM."""

from __future__ import annotations

import errno
from copy import deepcopy

import pytest

from inspector.machine.x86.kvm.enable_cap import VM_CAPS, enable_vcpu_cap, enable_vm_cap
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from inspector.machine.x86.kvm.msrs.hyperv import SCONTROL
from inspector.machine.x86.kvm.whole import IRQCHIP_KERNEL, IRQCHIP_NONE, IRQCHIP_SPLIT, VmConfig, WholeVcpu
from layouts.x86.capabilities import NUMBERS
from tests.machine.kvms import kvm_of

NUMBER = {name: number for number, name in NUMBERS.items()}
M64 = (1 << 64) - 1
#: kvm_vm_ioctl_enable_cap_generic (kvm_main.c), kvm_vm_ioctl_enable_cap (x86.c): the release that has it first.
SINCE = {
    **dict.fromkeys(("DISABLE_QUIRKS", "SPLIT_IRQCHIP", "X2APIC_API", "X86_DISABLE_EXITS"), (5, 10)),
    **dict.fromkeys(("MSR_PLATFORM_INFO", "EXCEPTION_PAYLOAD", "MANUAL_DIRTY_LOG_PROTECT2"), (5, 10)),
    **dict.fromkeys(("HALT_POLL", "X86_USER_SPACE_MSR"), (5, 10)),
    **dict.fromkeys(("DIRTY_LOG_RING", "X86_BUS_LOCK_EXIT"), (5, 11)),
    **dict.fromkeys(("SGX_ATTRIBUTE", "VM_COPY_ENC_CONTEXT_FROM"), (5, 13)),
    **dict.fromkeys(("EXIT_HYPERCALL", "EXIT_ON_EMULATION_FAILURE"), (5, 14)),
    "VM_MOVE_ENC_CONTEXT_FROM": (5, 16),
    **dict.fromkeys(("PMU_CAPABILITY", "DISABLE_QUIRKS2"), (5, 18)),
    **dict.fromkeys(("MAX_VCPU_ID", "X86_TRIPLE_FAULT_EVENT", "X86_NOTIFY_VMEXIT", "VM_DISABLE_NX_HUGE_PAGES"), (6, 0)),
    "DIRTY_LOG_RING_ACQ_REL": (6, 1),
    "X86_APIC_BUS_CYCLES_NS": (6, 11),
}
MOST_BUS_CYCLE_NS = M64 // (0xFFFFFFFF * 128)


def vm_of(irqchip: int = IRQCHIP_NONE, vcpus: int = 0, **caps: int) -> VmConfig:
    return VmConfig(irqchip, vcpu_ids=tuple(range(vcpus)), caps={NUMBER[name]: value for name, value in caps.items()})


def vmx_with(release: str, *flags: str, **parameters: str) -> Kvm:
    kvm = kvm_of(release, VMX, **parameters)
    kvm.processor = kvm.processor._replace(vmx_flags=frozenset(flags))
    return kvm


def test_the_release_that_has_a_capability_first() -> None:
    assert {NUMBERS[number]: since for number, (since, _) in VM_CAPS.items()} == SINCE
    outcome = enable_vm_cap(kvm_of("7.2"), vm_of(), 1)
    assert (outcome.code, outcome.because) == (
        errno.EINVAL,
        "a capability that can be turned on for a VM, in this release",
    )


@pytest.mark.parametrize("name", ["HALT_POLL", "DIRTY_LOG_RING", "DIRTY_LOG_RING_ACQ_REL", "EXCEPTION_PAYLOAD"])
def test_flags_are_refused_but_for_a_dirty_ring(name: str) -> None:
    """KVM_CAP_DIRTY_LOG_RING passes args[0] on and looks at nothing else."""
    vm = vm_of()
    assert enable_vm_cap(kvm_of("6.12"), vm, NUMBER[name], 4096, 1).code == (0 if "RING" in name else errno.EINVAL)
    assert (NUMBER[name] in vm.caps) is ("RING" in name)


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("HALT_POLL", 0xFFFFFFFF),
        ("X86_USER_SPACE_MSR", 7),
        ("EXIT_HYPERCALL", 1 << 12),
        ("EXIT_ON_EMULATION_FAILURE", 1),
        ("X86_DISABLE_EXITS", 0xF),
        ("DISABLE_QUIRKS2", 0x7F),
        ("MSR_PLATFORM_INFO", M64),
        ("EXCEPTION_PAYLOAD", M64),
        ("X86_TRIPLE_FAULT_EVENT", M64),
    ],
)
def test_bits_that_a_capability_has(name: str, mask: int) -> None:
    for bit in range(64):
        vm = vm_of()
        outcome = enable_vm_cap(kvm_of("6.1"), vm, NUMBER[name], 1 << bit)
        assert outcome.code == (0 if mask >> bit & 1 else errno.EINVAL), bit
        assert vm.caps == ({NUMBER[name]: 1 << bit} if mask >> bit & 1 else {})


@pytest.mark.parametrize(
    ("release", "name", "arg", "vm", "code"),
    [
        # KVM_DIRTY_LOG_INITIALLY_SET goes with KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE.
        ("5.10", "MANUAL_DIRTY_LOG_PROTECT2", 0, vm_of(), 0),
        ("5.10", "MANUAL_DIRTY_LOG_PROTECT2", 1, vm_of(), 0),
        ("5.10", "MANUAL_DIRTY_LOG_PROTECT2", 2, vm_of(), errno.EINVAL),
        ("5.10", "MANUAL_DIRTY_LOG_PROTECT2", 3, vm_of(), 0),
        ("5.10", "MANUAL_DIRTY_LOG_PROTECT2", 5, vm_of(), errno.EINVAL),
        # kvm_vm_ioctl_enable_dirty_log_ring.
        ("6.12", "DIRTY_LOG_RING", 4096, vm_of(), 0),
        ("6.12", "DIRTY_LOG_RING", 1 << 32 | 4096, vm_of(), 0),
        ("6.12", "DIRTY_LOG_RING", 4097, vm_of(), errno.EINVAL),
        ("6.12", "DIRTY_LOG_RING", 0, vm_of(), errno.EINVAL),
        ("6.12", "DIRTY_LOG_RING", 2048, vm_of(), errno.EINVAL),
        ("6.12", "DIRTY_LOG_RING", 1 << 20, vm_of(), 0),
        ("6.12", "DIRTY_LOG_RING_ACQ_REL", 1 << 21, vm_of(), errno.E2BIG),
        ("6.12", "DIRTY_LOG_RING", 4096, vm_of(vcpus=1), errno.EINVAL),
        ("6.12", "DIRTY_LOG_RING", 4096, vm_of(DIRTY_LOG_RING_ACQ_REL=4096), errno.EINVAL),
        ("6.12", "DIRTY_LOG_RING_ACQ_REL", 8192, vm_of(DIRTY_LOG_RING=4096), errno.EINVAL),
        # Pins of an I/O APIC; from 7.0 on KVM_MAX_IRQ_ROUTES.
        ("6.19", "SPLIT_IRQCHIP", 48, vm_of(), 0),
        ("6.19", "SPLIT_IRQCHIP", 49, vm_of(), errno.EINVAL),
        ("7.0", "SPLIT_IRQCHIP", 4096, vm_of(), 0),
        ("7.0", "SPLIT_IRQCHIP", 4097, vm_of(), errno.EINVAL),
        ("6.12", "SPLIT_IRQCHIP", 24, vm_of(IRQCHIP_KERNEL), errno.EEXIST),
        ("6.12", "SPLIT_IRQCHIP", 24, vm_of(vcpus=1), errno.EEXIST),
        # KVM_X2APIC_API_*: until 6.19 two bits; EOI broadcasts end only with a split chip, and not on and off.
        ("6.18", "X2APIC_API", 3, vm_of(IRQCHIP_KERNEL), 0),
        ("6.18", "X2APIC_API", 4, vm_of(IRQCHIP_SPLIT), errno.EINVAL),
        ("6.19", "X2APIC_API", 4, vm_of(IRQCHIP_SPLIT), 0),
        ("6.19", "X2APIC_API", 4, vm_of(IRQCHIP_KERNEL), errno.EINVAL),
        ("6.19", "X2APIC_API", 0xC, vm_of(IRQCHIP_SPLIT), errno.EINVAL),
        ("6.19", "X2APIC_API", 8, vm_of(IRQCHIP_KERNEL), 0),
        ("6.19", "X2APIC_API", 16, vm_of(IRQCHIP_KERNEL), errno.EINVAL),
        # Any four bits until 6.15; then what KVM_CHECK_EXTENSION tells (no MWAIT here), before vCPUs.
        ("6.12", "X86_DISABLE_EXITS", 0xF, vm_of(vcpus=1), 0),
        ("6.16", "X86_DISABLE_EXITS", 0xE, vm_of(), 0),
        ("6.16", "X86_DISABLE_EXITS", 0xF, vm_of(), errno.EINVAL),
        ("6.16", "X86_DISABLE_EXITS", 2, vm_of(vcpus=1), errno.EINVAL),
        ("6.12", "X86_BUS_LOCK_EXIT", 0, vm_of(), 0),
        ("6.12", "X86_BUS_LOCK_EXIT", 1, vm_of(), 0),
        ("6.12", "X86_BUS_LOCK_EXIT", 2, vm_of(), 0),
        ("6.12", "X86_BUS_LOCK_EXIT", 3, vm_of(), errno.EINVAL),
        ("6.12", "X86_BUS_LOCK_EXIT", 4, vm_of(), errno.EINVAL),
        ("6.12", "SGX_ATTRIBUTE", 0, vm_of(), errno.EINVAL),
        ("6.12", "VM_COPY_ENC_CONTEXT_FROM", 0, vm_of(), errno.EBADF),
        ("6.12", "VM_MOVE_ENC_CONTEXT_FROM", 0, vm_of(), errno.EBADF),
        # KVM_MAX_VCPU_IDS, which the first vCPU sets where nobody did (kvm_arch_vcpu_precreate).
        ("6.1", "MAX_VCPU_ID", 4096, vm_of(), 0),
        ("6.6", "MAX_VCPU_ID", 4097, vm_of(), errno.EINVAL),
        ("6.12", "MAX_VCPU_ID", 16384, vm_of(), 0),
        ("6.12", "MAX_VCPU_ID", 16385, vm_of(), errno.EINVAL),
        ("6.12", "MAX_VCPU_ID", 8, vm_of(MAX_VCPU_ID=8), 0),
        ("6.12", "MAX_VCPU_ID", 9, vm_of(MAX_VCPU_ID=8), errno.EINVAL),
        ("6.12", "MAX_VCPU_ID", 0, vm_of(MAX_VCPU_ID=8), errno.EINVAL),
        ("6.12", "MAX_VCPU_ID", 0, vm_of(), 0),
        ("6.12", "MAX_VCPU_ID", 16384, vm_of(vcpus=1), 0),
        ("6.12", "MAX_VCPU_ID", 16383, vm_of(vcpus=1), errno.EINVAL),
        ("6.1", "MAX_VCPU_ID", 4096, vm_of(vcpus=1), 0),
        ("6.12", "MAX_VCPU_ID", 8, vm_of(vcpus=1, MAX_VCPU_ID=8), 0),
        ("6.12", "VM_DISABLE_NX_HUGE_PAGES", 0, vm_of(), 0),
        ("6.12", "VM_DISABLE_NX_HUGE_PAGES", 1, vm_of(), errno.EINVAL),
        ("6.12", "VM_DISABLE_NX_HUGE_PAGES", 0, vm_of(vcpus=1), errno.EINVAL),
        # tmict_to_ns must not overflow: 2^32 - 1 ticks, divided by 128.
        ("6.12", "X86_APIC_BUS_CYCLES_NS", 0, vm_of(IRQCHIP_SPLIT), errno.EINVAL),
        ("6.12", "X86_APIC_BUS_CYCLES_NS", 1, vm_of(IRQCHIP_SPLIT), 0),
        ("6.12", "X86_APIC_BUS_CYCLES_NS", MOST_BUS_CYCLE_NS, vm_of(IRQCHIP_SPLIT), 0),
        ("6.12", "X86_APIC_BUS_CYCLES_NS", MOST_BUS_CYCLE_NS + 1, vm_of(IRQCHIP_SPLIT), errno.EINVAL),
        ("6.12", "X86_APIC_BUS_CYCLES_NS", 25, vm_of(IRQCHIP_NONE), errno.ENXIO),
        ("6.12", "X86_APIC_BUS_CYCLES_NS", 25, vm_of(IRQCHIP_SPLIT, vcpus=1), errno.EINVAL),
    ],
)
def test_capabilities_of_a_vm(release: str, name: str, arg: int, vm: VmConfig, code: int) -> None:
    vm, before = deepcopy(vm), vm.caps
    outcome = enable_vm_cap(kvm_of(release), vm, NUMBER[name], arg)
    assert outcome.code == code, outcome.because
    assert outcome.checks[-1].held is not bool(code) if outcome.checks else not code
    assert vm.caps == (before if code else before | {NUMBER[name]: arg})
    assert vm.irqchip == IRQCHIP_SPLIT or (name, code) != ("SPLIT_IRQCHIP", 0)


@pytest.mark.parametrize(("pml", "vendor", "least"), [("Y", VMX, 16384), ("N", VMX, 4096), ("Y", SVM, 4096)])
def test_a_dirty_ring_has_room_for_vmxs_page_modification_log(pml: str, vendor: str, least: int) -> None:
    """kvm_dirty_ring_get_rsvd_entries: 64, and 512 of VMX's log."""
    for size in (2048, 4096, 8192, 16384):
        outcome = enable_vm_cap(kvm_of("6.12", vendor, pml=pml), vm_of(), NUMBER["DIRTY_LOG_RING"], size)
        assert outcome.code == (0 if size >= least else errno.EINVAL), size


@pytest.mark.parametrize(
    ("release", "arg", "kept"),
    [("6.6", 1 << 63, 1 << 63), ("6.6", 0, 0), ("6.12", 1 << 63, 0x10), ("6.12", 2, 0x12), ("6.12", 0, 0x10)],
)
def test_quirks_stay_off_from_6_12_on(release: str, arg: int, kept: int) -> None:
    vm = vm_of()
    for asked in (0x10, arg):
        assert enable_vm_cap(kvm_of(release), vm, NUMBER["DISABLE_QUIRKS"], asked).accepted
    assert vm.disabled_quirks == kept


def test_quirks2_tells_what_it_lacks() -> None:
    vm = vm_of()
    assert enable_vm_cap(kvm_of("6.12"), vm, NUMBER["DISABLE_QUIRKS2"], 0x7FF).accepted
    assert vm.disabled_quirks == 0x7FF
    assert enable_vm_cap(kvm_of("6.12"), vm_of(), NUMBER["DISABLE_QUIRKS2"], 0x800).code == errno.EINVAL


@pytest.mark.parametrize(
    ("enable_pmu", "arg", "vcpus", "code"),
    [("Y", 0, 0, 0), ("Y", 1, 0, 0), ("Y", 2, 0, errno.EINVAL), ("Y", 1, 1, errno.EINVAL), ("N", 1, 0, errno.EINVAL)],
)
def test_a_pmu_is_taken_before_vcpus(enable_pmu: str, arg: int, vcpus: int, code: int) -> None:
    kvm = kvm_of("6.12", enable_pmu=enable_pmu)
    assert enable_vm_cap(kvm, vm_of(vcpus=vcpus), NUMBER["PMU_CAPABILITY"], arg).code == code


def test_a_pmu_that_no_parameter_tells_of_is_there() -> None:
    kvm = kvm_of("6.12")
    kvm.parameters = {}
    assert enable_vm_cap(kvm, vm_of(), NUMBER["PMU_CAPABILITY"], 1).accepted


@pytest.mark.parametrize(
    ("flags", "arg", "vcpus", "code"),
    [
        (("notify_vm_exiting",), 1, 0, 0),
        (("notify_vm_exiting",), 3 | 0xFFFF << 32, 0, 0),
        (("notify_vm_exiting",), 2, 0, errno.EINVAL),
        (("notify_vm_exiting",), 0, 0, errno.EINVAL),
        (("notify_vm_exiting",), 1 << 32, 0, errno.EINVAL),
        (("notify_vm_exiting",), 5, 0, errno.EINVAL),
        (("notify_vm_exiting",), 1 | 1 << 31, 0, errno.EINVAL),
        (("notify_vm_exiting",), 1, 1, errno.EINVAL),
        ((), 1, 0, errno.EINVAL),
    ],
)
def test_notify_vm_exits(flags: tuple[str, ...], arg: int, vcpus: int, code: int) -> None:
    assert enable_vm_cap(vmx_with("6.12", *flags), vm_of(vcpus=vcpus), NUMBER["X86_NOTIFY_VMEXIT"], arg).code == code


def test_without_a_word_args_0_is_0() -> None:
    assert enable_vm_cap(kvm_of("6.12"), vm_of(), NUMBER["VM_DISABLE_NX_HUGE_PAGES"]).accepted
    assert enable_vcpu_cap(WholeVcpu(kvm_of("6.12"), VmConfig()), NUMBER["HYPERV_SYNIC2"]).accepted


def test_what_one_vendor_alone_has() -> None:
    """sev_guest's ops are kvm-amd's, notify VM exits kvm-intel's."""
    for name in ("VM_COPY_ENC_CONTEXT_FROM", "VM_MOVE_ENC_CONTEXT_FROM"):
        assert enable_vm_cap(kvm_of("6.12", VMX), vm_of(), NUMBER[name]).code == errno.EINVAL
    kvm = kvm_of("6.12", SVM)
    kvm.processor = kvm.processor._replace(vmx_flags=frozenset({"notify_vm_exiting"}))
    assert enable_vm_cap(kvm, vm_of(), NUMBER["X86_NOTIFY_VMEXIT"], 1).code == errno.EINVAL


# KVM_ENABLE_CAP on a vCPU


@pytest.mark.parametrize(
    ("release", "vendor", "name", "arg", "irqchip", "code"),
    [
        ("6.12", SVM, "HYPERV_SYNIC", 1, IRQCHIP_KERNEL, 0),
        ("6.12", SVM, "HYPERV_SYNIC", 0, IRQCHIP_SPLIT, 0),
        ("6.12", SVM, "HYPERV_SYNIC", 0, IRQCHIP_NONE, errno.EINVAL),
        ("6.12", SVM, "HYPERV_SYNIC2", 0, IRQCHIP_KERNEL, 0),
        ("6.12", SVM, "HYPERV_SYNIC2", 1, IRQCHIP_KERNEL, errno.EINVAL),
        ("6.12", SVM, "HYPERV_SYNIC2", 0, IRQCHIP_NONE, errno.EINVAL),
        # copy_to_user of the version.
        ("6.12", VMX, "HYPERV_ENLIGHTENED_VMCS", 0x1000, IRQCHIP_KERNEL, 0),
        ("6.12", VMX, "HYPERV_ENLIGHTENED_VMCS", 0xFFF, IRQCHIP_KERNEL, errno.EFAULT),
        ("6.12", VMX, "HYPERV_ENLIGHTENED_VMCS", (1 << 47) - 1, IRQCHIP_KERNEL, 0),
        ("6.12", VMX, "HYPERV_ENLIGHTENED_VMCS", 1 << 47, IRQCHIP_KERNEL, errno.EFAULT),
        ("6.12", SVM, "HYPERV_ENLIGHTENED_VMCS", 0x1000, IRQCHIP_KERNEL, errno.ENOTTY),
        ("6.12", VMX, "HYPERV_DIRECT_TLBFLUSH", 0, IRQCHIP_KERNEL, errno.ENOTTY),
        ("5.10", SVM, "ENFORCE_PV_FEATURE_CPUID", 1, IRQCHIP_KERNEL, 0),
        ("5.13", SVM, "HYPERV_ENFORCE_CPUID", 1, IRQCHIP_KERNEL, errno.EINVAL),
        ("5.14", SVM, "HYPERV_ENFORCE_CPUID", 1, IRQCHIP_KERNEL, 0),
        ("7.2", SVM, "HALT_POLL", 1, IRQCHIP_KERNEL, errno.EINVAL),
    ],
)
def test_capabilities_of_a_vcpu(release: str, vendor: str, name: str, arg: int, irqchip: int, code: int) -> None:
    vcpu = WholeVcpu(kvm_of(release, vendor), VmConfig(irqchip))
    outcome = enable_vcpu_cap(vcpu, NUMBER[name], arg)
    assert (outcome.code, outcome.checks[-1].held) == (code, not code)
    assert (SCONTROL in vcpu.msrs) is (not code and "SYNIC" in name)
    assert vcpu.caps == ({} if code else {NUMBER[name]: arg})
    assert enable_vcpu_cap(WholeVcpu(vcpu.kvm, VmConfig(irqchip)), NUMBER[name], arg, 1).code == errno.EINVAL
    assert enable_vcpu_cap(vcpu, 1).code == errno.EINVAL


@pytest.mark.parametrize(("release", "code"), [("7.1", 0), ("7.2", errno.ENOTTY)])
def test_hyper_vs_vmcs_without_nesting(release: str, code: int) -> None:
    """nested_ops->enabled is asked from 7.2 on; before, enable_evmcs is there in any case."""
    vcpu = WholeVcpu(kvm_of(release, VMX, nested="N"), VmConfig())
    assert enable_vcpu_cap(vcpu, NUMBER["HYPERV_ENLIGHTENED_VMCS"], 0x1000).code == code
