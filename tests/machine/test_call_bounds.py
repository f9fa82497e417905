"""Small KVM ioctls of x86 at the bounds of each check: what a rule that is changed a little would take."""

from __future__ import annotations

import errno
import struct

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.clock import kvmclock_ctrl, set_clock, set_tsc_khz, set_vm_tsc_khz
from inspector.machine.x86.kvm.debugregs import DebugRegs
from inspector.machine.x86.kvm.guest_cpuid import Entry, GuestCpuid
from inspector.machine.x86.kvm.guest_debug import INJECT_BP, INJECT_DB, set_guest_debug
from inspector.machine.x86.kvm.mce import set_mce, setup_mce
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm, Processor
from inspector.machine.x86.kvm.mp_state import (
    HALTED,
    INIT_RECEIVED,
    RUNNABLE,
    SIPI_RECEIVED,
    UNINITIALIZED,
    accept_events,
    get_mp_state,
    set_mp_state,
)
from inspector.machine.x86.kvm.whole import IRQCHIP_NONE, VmConfig, WholeVcpu
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


def test_the_bounds_of_the_tolerance_are_whole_kilohertz() -> None:
    """adjust_tsc_khz divides and forgets the rest, at both bounds."""
    for khz, code in ((1_999_499, errno.EINVAL), (1_999_500, 0), (2_000_501, 0)):
        assert set_tsc_khz(vcpu_of(khz=KHZ + 1), khz).code == code, khz


def test_the_tolerance_is_a_parameter() -> None:
    vcpu = vcpu_of()
    vcpu.kvm.parameters["tsc_tolerance_ppm"] = "0"
    for khz, code in ((KHZ - 1, errno.EINVAL), (KHZ, 0)):
        assert set_tsc_khz(vcpu, khz).code == code
        assert vcpu.tsc_khz == khz


@pytest.mark.parametrize(("release", "known"), [("5.10", 0), ("5.15", 0), ("5.16", 0xE), ("7.2", 0xE)])
def test_flags_of_a_clock(release: str, known: int) -> None:
    for bit in range(32):
        assert set_clock(vcpu_of(release).kvm, 1 << bit).code == (0 if known >> bit & 1 else errno.EINVAL), bit
    assert set_clock(vcpu_of(release).kvm, known | 1).code == errno.EINVAL
    assert set_clock(vcpu_of(release).kvm, known).accepted


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
    vcpu.guest_xcr0 = 7
    assert set_xcrs(vcpu, [(0, 7)]).accepted
    assert vcpu.cpuid_dirty is True
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


@pytest.mark.parametrize(("release", "code"), [("6.16", errno.EINVAL), ("6.17", 0)])
@pytest.mark.parametrize("state", [INIT_RECEIVED, SIPI_RECEIVED, HALTED])
def test_init_is_blocked_by_smm_and_by_a_pending_smi(release: str, code: int, state: int) -> None:
    for in_smm, smi_pending in ((True, False), (False, True), (True, True), (False, False)):
        vcpu = vcpu_of(release)
        vcpu.is_smm, vcpu.pending.smi_pending = in_smm, smi_pending
        refused = state != HALTED and (in_smm or smi_pending)
        assert set_mp_state(vcpu, state).code == (code if refused else 0), (in_smm, smi_pending)


def test_without_a_local_apic_of_kvms_only_runnable() -> None:
    vcpu = WholeVcpu(vcpu_of().kvm, VmConfig(irqchip=IRQCHIP_NONE))
    assert set_mp_state(vcpu, RUNNABLE).accepted
    assert set_mp_state(vcpu, HALTED).code == errno.EINVAL
    vcpu.pending.sipi_pending = vcpu.pending.init_pending = True
    accept_events(vcpu)
    assert vcpu.pending.sipi_pending
    assert vcpu.pending.init_pending


def test_a_sipi_waits_until_the_state_is_read() -> None:
    vcpu = vcpu_of()
    assert set_mp_state(vcpu, SIPI_RECEIVED).accepted
    assert (vcpu.mp_state, vcpu.pending.sipi_pending) == (INIT_RECEIVED, True)
    assert get_mp_state(vcpu) == RUNNABLE
    assert set_mp_state(vcpu, HALTED).accepted
    assert (get_mp_state(vcpu), vcpu.pending.sipi_pending) == (HALTED, False)
    for state in (5, 8, 10):
        assert set_mp_state(vcpu, state).code == errno.EINVAL
        assert set_mp_state(vcpu_of("5.10"), state).accepted


@pytest.mark.parametrize(("vcpu_id", "state"), [(0, RUNNABLE), (1, INIT_RECEIVED)])
def test_init_starts_the_first_vcpu_only(vcpu_id: int, state: int) -> None:
    vcpu = WholeVcpu(vcpu_of().kvm, VmConfig(), vcpu_id=vcpu_id)
    vcpu.pending.init_pending = True
    accept_events(vcpu)
    assert vcpu.mp_state == state


def test_debug_registers_at_their_bounds() -> None:
    regs = DebugRegs()
    form = struct.Struct("<16Q")
    assert regs.get() == form.pack(0, 0, 0, 0, 0xFFFF0FF0, 0x400, *[0] * 10)
    for dr6, dr7, flags, because in (
        (1 << 32, 1 << 32, 1, "no flags"),
        (1 << 32, 1 << 32, 0, "DR6 has 32 bits (kvm_dr6_valid)"),
        (1 << 32, 0, 0, "DR6 has 32 bits (kvm_dr6_valid)"),
        (0, 1 << 32, 0, "DR7 has 32 bits (kvm_dr7_valid)"),
        (0, 0, 1, "no flags"),
    ):
        outcome = regs.set(form.pack(1, 2, 3, 4, dr6, dr7, flags, *[0] * 9))
        assert (outcome.code, outcome.because) == (errno.EINVAL, because)
        assert regs.db == [0, 0, 0, 0]
    # The reserved words behind the flags are passed over, and read as 0.
    assert regs.set(form.pack(1, 2, 3, 4, 0xFFFFFFFF, 0xFFFFFFFE, 0, *[7] * 9)).accepted
    assert regs.get() == form.pack(1, 2, 3, 4, 0xFFFFFFFF, 0xFFFFFFFE, *[0] * 10)


@pytest.mark.parametrize(
    ("release", "vendor", "rdx"), [("5.10", SVM, 0), ("5.10", VMX, 0x600), ("5.11", SVM, 0x600), ("6.12", SVM, 0x600)]
)
def test_registers_after_reset(release: str, vendor: str, rdx: int) -> None:
    vcpu = vcpu_of(release, vendor)
    expected = [0, 0, 0, rdx, *[0] * 12, 0xFFF0, 2]
    assert vcpu.regs.get() == struct.pack("<18Q", *expected)
    vcpu.guest = GuestCpuid(vcpu.kvm, (Entry(1, 0, 0, 0xA00F11, 0, 0, 0), Entry(2, 0, 0, 5, 0, 0, 0)))
    vcpu.regs.reset()
    assert vcpu.regs.values[3] == 0xA00F11


def test_registers_that_are_set() -> None:
    vcpu = vcpu_of()
    vcpu.pending.pending = True
    outcome = vcpu.regs.set(struct.pack("<18Q", *range(17), 0x44))
    assert outcome.accepted
    assert all(check.held for check in outcome.checks)
    assert vcpu.regs.get() == struct.pack("<18Q", *range(17), 0x46)
    assert vcpu.pending.pending is False


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
    vcpu = vcpu_of(release)
    assert set_guest_debug(vcpu, INJECT_BP).accepted
    vcpu.pending.injected = True
    assert set_guest_debug(vcpu, INJECT_BP).because == "no exception is pending"


def test_banks_and_their_status_at_the_bounds() -> None:
    vcpu = vcpu_of()
    for banks, code in ((0, errno.EINVAL), (1, 0), (32, 0), (33, errno.EINVAL)):
        assert setup_mce(vcpu, banks).code == code, banks
    assert setup_mce(vcpu, 2 | 1 << 26).code == errno.EINVAL
    assert setup_mce(WholeVcpu(vcpu.kvm, VmConfig(irqchip=IRQCHIP_NONE)), 2).accepted
    assert setup_mce(vcpu, 2).accepted
    for bank, status, code in ((0, 1 << 63, 0), (1, 1 << 63, 0), (2, 1 << 63, errno.EINVAL), (0, 1, errno.EINVAL)):
        assert set_mce(vcpu, bank, status).code == code, (bank, status)
