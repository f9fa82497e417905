"""MSRs that kvm-amd or kvm-intel have of their own: each value at its bound, by release and host.

Source: Linux arch/x86/kvm/svm/svm.c, svm_set_msr, svm_get_msr; vmx/vmx.c, vmx_set_msr, vmx_get_msr.
"""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm.module import SVM, VMX, Processor
from inspector.machine.x86.kvm.msrs.access import read, set_msr
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.kvms import commands, give, kept, vcpu_with

ALL = (1 << 64) - 1
FEATURE_CONTROL, UMWAIT, TSX_CTRL, DEBUGCTL, MCG_EXT_CTL, BNDCFGS, SYSENTER_CS = (
    0x3A,
    0xE1,
    0x122,
    0x1D9,
    0x4D0,
    0xD90,
    0x174,
)
VIRT_SPEC_CTRL, VM_CR, IGNNE, HSAVE_PA, TSC_RATIO = 0xC001011F, 0xC0010114, 0xC0010115, 0xC0010117, 0xC0000104
DE_CFG, IC_CFG, SYSENTER_EIP = 0xC0011029, 0xC0011021, 0x176
STAR, SYSCALL_MASK, ARCH_CAPABILITIES, PERF_CAPABILITIES = 0xC0000081, 0xC0000084, 0x10A, 0x345
SVME, LBR, BTF, BUS_LOCK, FREEZE, RTM_DEBUG = 1 << 12, 1, 2, 4, 1 << 11, 1 << 15


def bits_kept(vcpu: WholeVcpu, index: int) -> int:
    """The bits that are taken and read back, one by one."""
    return sum(1 << bit for bit in range(64) if kept(vcpu, index, 1 << bit) == 1 << bit)


def test_what_amd_keeps() -> None:
    vcpu = vcpu_with("6.12", SVM, "XMM2")
    for index in (STAR, SYSCALL_MASK, SYSENTER_CS):
        assert (read(vcpu, index), kept(vcpu, index, ALL)) == (0, ALL)
    assert kept(vcpu, HSAVE_PA, ALL) == ALL ^ 0xFFF
    assert bits_kept(vcpu, VIRT_SPEC_CTRL) == 1 << 2
    assert set_msr(vcpu, VIRT_SPEC_CTRL, 8).because == "only bits 0x4 are set in 0x8"
    assert commands(vcpu, IGNNE, ALL) == [True]
    assert isinstance(read(vcpu, IGNNE), Refusal)
    assert not set_msr(vcpu, IC_CFG, 0).accepted
    # svm_get_feature_msr: LFENCE serializes where the CPU has SSE2.
    assert bits_kept(vcpu, DE_CFG) == 2
    vcpu.kvm.boot_has = lambda feature: feature != "XMM2"  # type: ignore[method-assign]
    assert commands(vcpu, DE_CFG, 0, 2) == [True, False]
    assert "(0x0)" in set_msr(vcpu, DE_CFG, 2).because


@pytest.mark.parametrize(
    ("efer", "values", "reads"),
    [
        # svm_set_vm_cr: five bits; the lock and the disable bit stay once SVM is disabled; what is refused is kept.
        (0, (0x1F,), 0x1F),
        (0, (0x18, 0), 0x18),
        (0, (0x18, 7), 0x1F),
        (0, (0x08, 0), 0),
        (0, (0x08, 0x10, 0x18), 0x10),
    ],
)
def test_svm_is_disabled_for_good(efer: int, values: tuple[int, ...], reads: int) -> None:
    vcpu = vcpu_with("6.12")
    vcpu.efer = efer
    assert read(vcpu, VM_CR) == 0
    assert all(commands(vcpu, VM_CR, *values))
    assert read(vcpu, VM_CR) == reads
    assert not set_msr(vcpu, VM_CR, 0x20).accepted


def test_svm_is_not_disabled_while_it_is_on() -> None:
    vcpu = vcpu_with("6.12")
    vcpu.efer = SVME
    assert commands(vcpu, VM_CR, 0x0F, 0x10, 0) == [True, False, False]
    assert read(vcpu, VM_CR) == 0x10


@pytest.mark.parametrize(
    ("guest", "values", "taken"),
    [
        # svm_set_msr, AMD64_TSC_RATIO: without the feature the present ratio, or 0 (QEMU 6.2 writes it).
        (False, (0, 1 << 32, 1, 1 << 32 | 1), [True, True, False, False]),
        (True, (0, (1 << 40) - 1, 1 << 40, 1 << 63), [True, True, False, False]),
    ],
)
def test_tsc_ratios(guest: bool, values: tuple[int, ...], taken: list[bool]) -> None:
    vcpu = vcpu_with("6.12", SVM, "TSCRATEMSR")
    if guest:
        give(vcpu, "TSCRATEMSR")
    assert read(vcpu, TSC_RATIO) == 1 << 32
    assert commands(vcpu, TSC_RATIO, *values) == taken
    assert read(vcpu, TSC_RATIO) == ((1 << 40) - 1 if guest else 1 << 32)


@pytest.mark.parametrize(
    ("release", "features", "lbrv", "value", "reads"),
    # Last branch virtualization: by the parameter too from 5.17 on, where 5.10 has none.
    [
        ("6.12", ("LBRV",), "0", 1, 0),
        ("6.12", (), "1", 1, 0),
        ("6.12", ("LBRV",), "1", 1, 1),
        ("5.10", ("LBRV",), "0", 1, 1),
    ],
)
def test_debugctl_of_amd(release: str, features: tuple[str, ...], lbrv: str, value: int, reads: int) -> None:
    vcpu = vcpu_with(release, SVM, *features)
    vcpu.kvm.parameters = {**vcpu.kvm.parameters, "lbrv": lbrv}
    assert kept(vcpu, DEBUGCTL, value) == reads


@pytest.mark.parametrize(("release", "halves"), [("5.10", False), ("6.1", True), ("7.2", True)])
def test_amd_keeps_the_low_half_of_sysenter(release: str, halves: bool) -> None:
    """svm_set_msr: sysenter_eip_hi for guests that count as Intel's; 5.10 keeps 64 bits for all."""
    vcpu, whole = vcpu_with(release), 0x7FFF_1234_5678
    assert read(vcpu, SYSENTER_EIP) == 0
    assert kept(vcpu, SYSENTER_EIP, whole) == (whole & 0xFFFFFFFF if halves else whole)
    # Whose guest it is is asked again by RDMSR.
    vcpu.msrs[SYSENTER_EIP] = whole
    assert read(vcpu, SYSENTER_EIP) == (whole & 0xFFFFFFFF if halves else whole)


def test_the_cache_configuration_needs_a_family() -> None:
    vcpu = vcpu_with("6.12")
    vcpu.guest.replace(())
    assert isinstance(read(vcpu, IC_CFG), Refusal)


# Intel


def test_what_intel_keeps() -> None:
    vcpu = vcpu_with("6.12", VMX)
    for index in (STAR, SYSCALL_MASK):
        assert (read(vcpu, index), kept(vcpu, index, ALL)) == (0, ALL)
    assert kept(vcpu, SYSENTER_CS, ALL) == 0xFFFFFFFF
    assert bits_kept(vcpu, UMWAIT) == 0xFFFFFFFD
    assert bits_kept(vcpu, MCG_EXT_CTL) == 1
    for index in (0x1DB, 0x1DE):
        assert (read(vcpu, index), set_msr(vcpu, index, 1).accepted) == (0, False)
    for index in (0x560, 0x572, 0x580, 0x587):
        assert isinstance(read(vcpu, index), Refusal)
        assert set_msr(vcpu, index, 0).because == "processor trace is the guests' (pt_mode=1)"


@pytest.mark.parametrize(
    ("release", "features", "mcg_cap", "bits"),
    [
        # is_vmx_feature_control_msr_valid: what the guest's CPUID enables, from 6.3 on of the host all that KVM knows.
        ("6.1", (), 0, 1),
        ("6.1", ("VMX",), 0, 7),
        ("6.1", ("SGX",), 0, 1 | 1 << 18),
        ("6.1", ("SGX_LC",), 0, 1 | 1 << 17),
        ("6.1", (), 1 << 27, 1 | 1 << 20),
        ("6.1", (), ~(1 << 27), 1),
        ("6.6", (), 0, 0x160007),
    ],
)
def test_feature_control(release: str, features: tuple[str, ...], mcg_cap: int, bits: int) -> None:
    vcpu = give(vcpu_with(release, VMX), *features)
    vcpu.mcg_cap = mcg_cap
    assert bits_kept(vcpu, FEATURE_CONTROL) == bits
    assert f"only bits {bits:#x} of" in set_msr(vcpu, FEATURE_CONTROL, 8).because


def test_feature_control_of_0_turns_vmx_off() -> None:
    """vmx_set_msr of the host: vmx_leave_nested."""
    for value, guest_mode in ((5, True), (0, False)):
        vcpu = vcpu_with("6.12", VMX)
        vcpu.is_guest_mode = True
        assert kept(vcpu, FEATURE_CONTROL, value) == value
        assert vcpu.is_guest_mode is guest_mode


@pytest.mark.parametrize(
    ("release", "features", "lbr", "bits"),
    [
        # vmx_get_supported_debugctl; LBR and BTF are dropped where they are not supported.
        ("6.12", (), 0, 0),
        ("6.12", ("BUS_LOCK_DETECT",), 0, BUS_LOCK),
        ("6.12", ("RTM",), 0, RTM_DEBUG),
        ("6.12", ("PDCM",), 5, LBR | FREEZE),
        ("6.12", ("PDCM", "RTM", "BUS_LOCK_DETECT"), 5, LBR | FREEZE | RTM_DEBUG | BUS_LOCK),
        ("6.6", ("RTM",), 0, 0),
        ("6.1.191", ("RTM",), 0, 0),
        ("6.1.192", ("RTM",), 0, RTM_DEBUG),
    ],
)
def test_debugctl_of_intel(release: str, features: tuple[str, ...], lbr: int, bits: int) -> None:
    vcpu = vcpu_with(release, VMX, *features)
    vcpu.kvm.processor = Processor(msrs={PERF_CAPABILITIES: lbr})
    vcpu.kvm.parameters = {**vcpu.kvm.parameters, "enable_pmu": "Y"}
    found = {bit: kept(vcpu, DEBUGCTL, 1 << bit) for bit in range(64)}
    taken = bits | BTF | LBR
    assert found == {bit: None if not taken >> bit & 1 else 1 << bit & bits for bit in range(64)}
    assert set_msr(vcpu, DEBUGCTL, 1 << 40).because == f"only bits {taken:#x} are set in 0x10000000000"


def test_debugctl_of_5_10_is_taken_and_dropped() -> None:
    vcpu = vcpu_with("5.10", VMX, "RTM")
    assert [kept(vcpu, DEBUGCTL, value) for value in (0, 1, 2, 3, 4, 1 << 15)] == [0, 0, 0, 0, None, None]
    assert set_msr(vcpu, DEBUGCTL, 4).because == "only bits 0x3 are set in 0x4"


@pytest.mark.parametrize(("host", "has"), [(1 << 7, True), (1 << 6, False)])
def test_tsx_control_is_the_hosts(host: int, has: bool) -> None:
    """MSR_IA32_TSX_CTRL is one that KVM switches where ARCH_CAPABILITIES of the host has its bit."""
    vcpu = vcpu_with("6.12", VMX)
    vcpu.kvm.processor = Processor(msrs={ARCH_CAPABILITIES: host})
    assert commands(vcpu, TSX_CTRL, 3, 4) == [has, False]
    assert set_msr(vcpu, TSX_CTRL, 4).because == "only bits 0x3 are set in 0x4"
    assert read(vcpu, TSX_CTRL) == 3 if has else isinstance(read(vcpu, TSX_CTRL), Refusal)
    assert kept(vcpu, TSX_CTRL, 2) == (2 if has else None)
    vcpu.msrs.clear()
    assert not has or read(vcpu, TSX_CTRL) == 0


@pytest.mark.parametrize(
    ("value", "accepted"),
    [(3, True), (4, False), (0x800, False), (0x7FFFFFFFF003, True), (1 << 47, False), (ALL ^ 0xFFF, True)],
)
def test_bounds_of_mpx(value: int, accepted: bool) -> None:
    """MSR_IA32_BNDCFGS: a canonical address, and bits 11:2 are reserved."""
    assert isinstance(read(vcpu_with("6.12", VMX), BNDCFGS), Refusal)
    assert not set_msr(vcpu_with("6.12", VMX), BNDCFGS, 0).accepted
    vcpu = give(vcpu_with("6.12", VMX), "MPX")
    assert read(vcpu, BNDCFGS) == 0
    assert kept(vcpu, BNDCFGS, value) == (value if accepted else None)


@pytest.mark.parametrize(("release", "has"), [("5.12", False), ("5.13", True)])
def test_the_launch_enclaves_key(release: str, has: bool) -> None:
    """setup_default_sgx_lepubkeyhash: Intel's."""
    vcpu = vcpu_with(release, VMX)
    key = (0xA6053E051270B7AC, 0x6CFBE8BA8B3B413D, 0xC4916D99F2B3735D, 0xD4F8C05909F9BB3B)
    for index, word in zip(range(0x8C, 0x90), key, strict=True):
        assert read(vcpu, index) == word if has else isinstance(read(vcpu, index), Refusal)
        assert kept(vcpu, index, 5) == (5 if has else None)
