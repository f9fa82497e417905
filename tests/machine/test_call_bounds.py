"""Small KVM ioctls of x86 at the bounds of each check: what a rule that is changed a little would take."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.clock import kvmclock_ctrl, set_tsc_khz, set_vm_tsc_khz
from inspector.machine.x86.kvm.guest_debug import INJECT_BP, INJECT_DB, set_guest_debug
from inspector.machine.x86.kvm.mce import set_mce, setup_mce
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.mp_state import INIT_RECEIVED, RUNNABLE, UNINITIALIZED, accept_events
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.kvm.xcrs import get_xcrs, set_xcrs
from layouts.x86.kernels import profile_for

KHZ = 2_000_000
_XSAVE = {(1, 0): (0, 0, 1 << 26, 0), (0xD, 0): (7, 0x340, 0x340, 0), (0xD, 1): (1, 0, 0, 0)}


def vcpu_of(release: str = "6.12", vendor: str = SVM, *, scales: bool = False, khz: int = KHZ) -> WholeVcpu:
    """A vCPU of a release, on a processor that scales TSCs or does not."""
    cpuid = Cpuid(dict(_XSAVE) | {(0x8000000A, 0): (0, 0, 0, int(scales) << 4)})
    flags = frozenset({"tsc_scaling"} if scales and vendor == VMX else ())
    host = Host(cpuid, profile_for(release))
    processor = Processor(tsc_khz=khz, vmx_flags=flags)
    return WholeVcpu(Kvm(host, release=release, vendor=vendor, processor=processor), VmConfig())


def test_a_frequency_at_the_bounds_of_the_tolerance() -> None:
    for khz, code in ((KHZ - 501, errno.EINVAL), (KHZ - 500, 0), (KHZ, 0), (KHZ + 500, 0), (KHZ + 501, 0)):
        outcome = set_tsc_khz(vcpu_of(), khz)
        assert outcome.code == code, khz
        # Above it the TSC is put forward, which is another check.
        assert ("tsc_always_catchup" in outcome.because) is not (KHZ - 500 <= khz <= KHZ + 500)


def test_without_any_frequency() -> None:
    outcome = set_tsc_khz(vcpu_of(khz=0), 0)
    assert (outcome.code, outcome.because) == (errno.EINVAL, "the host's frequency is known")


@pytest.mark.parametrize(("vendor", "least", "most"), [(SVM, 1, 255 * KHZ), (VMX, 1, 1000 * KHZ)])
def test_a_ratio_that_the_processor_scales_to(vendor: str, least: int, most: int) -> None:
    vcpu = vcpu_of(vendor=vendor, scales=True)
    assert set_tsc_khz(vcpu, least).accepted
    assert set_tsc_khz(vcpu, most).accepted
    assert set_tsc_khz(vcpu, 0x7FFFFFFF).code == errno.EINVAL


def test_svms_ratio_has_eight_bits_before_the_point() -> None:
    """kvm_caps.max_guest_tsc_khz is the host's frequency times 255.99, where that is below 2^31 kHz."""
    vcpu = vcpu_of(scales=True, khz=1000)
    bound = 1000 * 0xFFFFFFFFFF >> 32
    assert set_tsc_khz(vcpu, bound - 1).accepted
    assert set_tsc_khz(vcpu, bound).code == errno.EINVAL


def test_a_vms_frequency_by_release() -> None:
    for release, has_vcpus, code in (
        ("5.17", False, errno.ENOTTY),
        ("5.18", True, 0),
        ("6.16", True, 0),
        ("6.17", True, errno.EINVAL),
        ("6.17", False, 0),
    ):
        assert set_vm_tsc_khz(vcpu_of(release).kvm, KHZ, has_vcpus=has_vcpus).code == code, release
    outcome = set_vm_tsc_khz(vcpu_of(scales=True).kvm, 0x7FFFFFFF, has_vcpus=False)
    assert outcome.because == "below the greatest frequency that the processor scales to"
    assert set_vm_tsc_khz(vcpu_of(scales=True).kvm, KHZ, has_vcpus=False).accepted


@pytest.mark.parametrize("index", [0x12, 0x4B564D01])
def test_a_kvmclock_is_paused_where_the_guest_has_turned_it_on(index: int) -> None:
    vcpu = vcpu_of()
    for value, code in ((None, errno.EINVAL), (2, errno.EINVAL), (1, 0), (0x1001, 0)):
        vcpu.msrs = {} if value is None else {index: value}
        assert kvmclock_ctrl(vcpu).code == code, value
    vcpu.msrs = {0x13: 1, 0x4B564D02: 1}
    assert kvmclock_ctrl(vcpu).code == errno.EINVAL


def test_xcrs_are_counted() -> None:
    vcpu = vcpu_of()
    assert get_xcrs(vcpu) == (1, 1)
    assert set_xcrs(vcpu, [(0, 1)]).accepted
    assert not vcpu.cpuid_dirty
    # Sixteen have room; what is told and not there is the one of before, of XCR1, which nobody looks at.
    for count, code in ((0, 0), (2, 0), (16, 0), (17, errno.EINVAL)):
        assert set_xcrs(vcpu, [(0, 1)], count=count).code == code, count
    assert set_xcrs(vcpu, [(0, 1)], flags=1).code == errno.EINVAL
    assert set_xcrs(vcpu, [(0, 0)], count=0).accepted


def test_without_xsave_there_are_no_xcrs() -> None:
    vcpu = WholeVcpu(Kvm(Host(Cpuid({}), profile_for("6.12")), release="6.12", vendor=SVM), VmConfig())
    assert get_xcrs(vcpu) == (0, 0)
    outcome = set_xcrs(vcpu, [(0, 1)])
    assert (outcome.code, outcome.because) == (errno.EINVAL, "Linux on the host has XSAVE")
    assert not outcome.checks[-1].held


def test_a_sipi_that_finds_the_vcpu_elsewhere_is_lost() -> None:
    vcpu = vcpu_of()
    for before, after in ((INIT_RECEIVED, RUNNABLE), (UNINITIALIZED, UNINITIALIZED)):
        vcpu.mp_state, vcpu.pending.sipi_pending = before, True
        accept_events(vcpu)
        assert (vcpu.mp_state, vcpu.pending.sipi_pending) == (after, False)
    vcpu.pending.init_pending = True
    accept_events(vcpu)
    assert vcpu.pending.init_pending is False
    vcpu.is_smm, vcpu.pending.sipi_pending, vcpu.pending.init_pending = True, True, True
    accept_events(vcpu)
    assert (vcpu.pending.sipi_pending, vcpu.pending.init_pending) == (False, True)


@pytest.mark.parametrize(("control", "vector"), [(INJECT_DB, 1), (INJECT_BP, 3), (INJECT_DB | INJECT_BP, 1)])
def test_an_exception_is_injected_by_the_debugger(control: int, vector: int) -> None:
    vcpu = vcpu_of()
    assert set_guest_debug(vcpu, control).accepted
    assert (vcpu.pending.pending, vcpu.pending.vector) == (True, vector)
    assert set_guest_debug(vcpu, control).code == errno.EBUSY
    assert set_guest_debug(vcpu, 1).accepted


@pytest.mark.parametrize(("release", "code"), [("7.0", 0), ("7.1", errno.EBUSY)])
def test_what_is_injected_is_in_a_debuggers_way_from_7_1_on(release: str, code: int) -> None:
    vcpu = vcpu_of(release)
    vcpu.pending.injected = True
    assert set_guest_debug(vcpu, INJECT_BP).code == code


def test_banks_and_their_status_at_the_bounds() -> None:
    vcpu = vcpu_of()
    for banks, code in ((0, errno.EINVAL), (1, 0), (32, 0), (33, errno.EINVAL)):
        assert setup_mce(vcpu, banks).code == code, banks
    assert setup_mce(vcpu, 2 | 1 << 26).code == errno.EINVAL
    assert setup_mce(vcpu, 2).accepted
    for bank, status, code in ((0, 1 << 63, 0), (1, 1 << 63, 0), (2, 1 << 63, errno.EINVAL), (0, 1, errno.EINVAL)):
        assert set_mce(vcpu, bank, status).code == code, (bank, status)
