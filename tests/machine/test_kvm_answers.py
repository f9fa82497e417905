"""Small ioctls of KVM on x86 and instructions of its guests: what each is refused for, by release."""

from __future__ import annotations

import errno
import struct

import pytest

from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.instructions import tiles, vectors
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.msrs.access import read, set_msr
from inspector.machine.x86.kvm.nested.vmx import VMCS12_REVISION
from inspector.machine.x86.kvm.one_reg import reg_list
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.kernel import Linux
from layouts.x86.kernels import profile_for
from tests.machine.kvms import vcpu_with as vcpu_of
from tests.machine.kvms import vcpu_with_counters as with_counters
from tests.machine.support import events_of, world

AMD_SELECT, AMD_CTL = 0xC0010200, 0xC0000301


def test_a_list_of_registers_needs_room() -> None:
    """kvm_get_reg_list (from 6.18 on): the guest's SSP where it has shadow stacks, and E2BIG without room for it."""
    vcpu = vcpu_of("6.18", VMX, "SHSTK", leaf_7=(0, 0, 1 << 7, 0))
    assert reg_list(vcpu, 0)[0].code == errno.E2BIG
    outcome, found = reg_list(vcpu, 1)
    assert (outcome.code, len(found)) == (0, 1)
    assert reg_list(vcpu_of("6.18", VMX), 0) == (reg_list(vcpu_of("6.18", VMX), 1)[0], ())


# Nested state


def vmx_state(vmcs12: bytes, flags: int = 0) -> bytes:
    """struct kvm_nested_state with VMXON at 0x1000 and a VMCS12 at 0x2000."""
    head = struct.pack("<HHI", flags, 0, 128 + len(vmcs12)) + struct.pack("<QQHHIQ", 0x1000, 0x2000, 0, 0, 0, 0)
    return head.ljust(128, b"\0") + vmcs12


@pytest.mark.parametrize(
    ("revision", "pin", "flags", "code"),
    [
        (VMCS12_REVISION, 0x16, 1, 0),
        (VMCS12_REVISION, 0x16, 3, 0),
        (VMCS12_REVISION, 0x06, 1, errno.EINVAL),
        (VMCS12_REVISION, 0, 0, 0),
        (VMCS12_REVISION ^ 1, 0x16, 0, errno.EINVAL),
    ],
)
def test_a_vmcs12_is_looked_at(revision: int, pin: int, flags: int, code: int) -> None:
    """vmx_set_nested_state: the revision; in guest mode nested_vmx_check_controls."""
    vcpu = vcpu_of("6.12", VMX, "VMX", leaf_1=(0x000906E0, 0, 1 | 1 << 5, 0x178BFBFF))
    vcpu.kvm.parameters = {**vcpu.kvm.parameters, "nested": "Y"}
    vmcs12 = bytearray(4096)
    struct.pack_into("<I", vmcs12, 0, revision)
    struct.pack_into("<I", vmcs12, 744, pin)
    outcome = vcpu.nested.set(vmx_state(bytes(vmcs12), flags))
    assert outcome.code == code, outcome.because
    assert vcpu.is_guest_mode is (flags & 1 == 1 and not code)
    if not code:
        # nested VMX MSRs are frozen behind VMXON (vmx_set_vmx_msr: EBUSY in its place, which counts none).
        assert not set_msr(vcpu, 0x48D, 0).accepted


# Counters that a guest lacks


@pytest.mark.parametrize(
    ("release", "parameters", "index", "accepted"),
    [
        # The K7's four are taken without a PMU; F15H's are its own from 6.5 on (amd_is_valid_msr).
        ("6.12", {"enable_pmu": "N"}, 0xC0010000, True),
        ("6.12", {"enable_pmu": "N"}, AMD_SELECT, False),
        ("6.1", {"enable_pmu": "N"}, AMD_SELECT, False),
        ("6.12", {"enable_pmu": "Y"}, 0xC0010003, True),
        ("6.12", {"enable_pmu": "Y"}, 0xC0010007, True),
        ("6.12", {"enable_pmu": "Y"}, AMD_CTL + 1, True),
    ],
)
def test_amds_counters_by_number(release: str, parameters: dict[str, str], index: int, accepted: bool) -> None:
    vcpu = with_counters(release, SVM)
    vcpu.kvm.parameters = parameters
    assert set_msr(vcpu, index, 1).accepted is accepted
    # Where the MSR is no PMU's at all it reads as 0, because KVM lists it (kvm_is_msr_to_save).
    assert isinstance(read(vcpu, index), int) is (accepted or release == "6.1")


def test_without_perfmon_v2_there_is_no_global_control() -> None:
    """kvm_pmu_has_perf_global_ctrl: version 1 has none, nor F15H's counters without PERFCTR_CORE."""
    vcpu = with_counters("6.12", SVM)
    vcpu.guest.replace(tuple(e._replace(eax=0, ecx=4) for e in vcpu.guest.entries if e.leaf != 0x80000022))
    assert not set_msr(vcpu, AMD_CTL, 1).accepted
    assert read(vcpu, AMD_CTL) == 0
    assert not set_msr(vcpu, AMD_SELECT, 1).accepted
    assert set_msr(vcpu, 0xC0010000, 1).accepted


# A vCPU of the world, call by call

AMX = Host(shipped_cpu("sapphire-rapids"), profile_for("7.2"))


@pytest.mark.parametrize(
    ("leaves", "code"),
    [
        ({(leaf, 0): (0, 0, 0, 0) for leaf in range(257)}, errno.E2BIG),
        ({(leaf, 0): (0, 0, 0, 0) for leaf in range(256)}, 0),
        # kvm_check_cpuid: virtual addresses of 0, 48 or 57 bits.
        ({(0x80000008, 0): (48 << 8, 0, 0, 0)}, 0),
        ({(0x80000008, 0): (57 << 8, 0, 0, 0)}, 0),
        ({(0x80000008, 0): (47 << 8, 0, 0, 0)}, errno.EINVAL),
    ],
)
def test_tables_that_kvm_takes(leaves: dict[tuple[int, int], tuple[int, int, int, int]], code: int) -> None:
    assert Vcpu(Linux(AMX).spawn()).set_cpuid(leaves).code == code


@pytest.mark.parametrize(
    "last", ["guest xsetbv 7", "guest wrmsr XFD 0", "guest rdmsr XFD", "guest movdqu 0", "KVM_RUN"]
)
def test_every_way_into_a_guest_whose_image_is_off_is_an_oops(last: str) -> None:
    """XRSTORS of a component that XFD turns off is #NM in the host's kernel (fpu_swap_kvm_fpstate)."""
    events = events_of("host-oops")
    found = world()
    found.play((*events[:-1], last))
    assert found.steps[-1].outcome.verdict == "host-oops"


# Instructions


@pytest.mark.parametrize(
    ("instruction", "name"),
    [
        (lambda cpu: vectors.vzeroupper(cpu), "#UD"),
        (lambda cpu: vectors.vzeroall(cpu), "#UD"),
        (lambda cpu: vectors.incssp(cpu, 1), "#UD"),
        (lambda cpu: tiles.ldtilecfg(cpu), "#UD"),
        (lambda cpu: vectors.ldmxcsr(cpu, 1 << 31), "#GP"),
    ],
)
def test_instructions_without_their_state(instruction: object, name: str) -> None:
    """Intel SDM vol. 2, each: XCR0 without AVX is #UD, and so are tiles and shadow stacks that are off."""
    cpu = Processor(AMX)
    cpu.xcr0 = 3
    outcome = instruction(cpu)  # type: ignore[operator]
    assert isinstance(outcome, Outcome)
    assert outcome.name == name


def test_a_product_that_is_none() -> None:
    with pytest.raises(ValueError, match="no tile product tdpxyz; there are "):
        tiles.tile_product(Processor(AMX), "tdpxyz", (0, 1, 2))


def test_incssp_steps_by_eight_bytes() -> None:
    """Intel SDM vol. 2, INCSSPQ: the low 8 bits count, each 8 bytes; SSP wraps."""
    cpu = Processor(AMX)
    cpu.cr4_cet, cpu.xcr0 = True, AMX.user_max
    cpu.registers.write(11, 0, (1).to_bytes(8, "little"))
    cpu.registers.write(11, 8, (0x1000).to_bytes(8, "little"))
    assert cpu.execute(lambda processor: vectors.incssp(processor, 0x103), user=True).value == 0x1018
