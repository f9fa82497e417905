"""Calls of a log, asked of a machine: what is asked, and what is not because the log does not tell enough."""

from __future__ import annotations

import pytest

from inspector.capture.calls import Call, Printed
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm import sregs
from inspector.machine.x86.kvm.module import VMX, Kvm
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.calls import Compared, Replay
from layouts.x86.kernels import profile_for
from layouts.x86.kvm_counted import cpuid2_pack


def call(name: str, given: Printed = None, *, of: int = 3, result: int | None = 0, error: str = "") -> Call:
    return Call(0, "", of, name, "", given, result, error)


def kvm() -> Kvm:
    return Kvm(Host(shipped_cpu("sapphire-rapids"), profile_for("6.18")), release="6.18", vendor=VMX)


VM, VCPU = call("KVM_CREATE_VM", 0, result=4), call("KVM_CREATE_VCPU", 0, of=4, result=5)


def compared(*calls: Call, data: bytes | None = None, stands_in: bool = False) -> Compared:
    """The last call beside the machine's answer."""
    return Replay(kvm(), lambda _: data, stands_in=stands_in).compare(calls)[-1]


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ((call("KVM_CREATE_VM", 1, result=4),), "VMs of other types than 0"),
        ((VCPU,), "how its descriptor was made"),
        ((VM, call("KVM_CREATE_VCPU", None, of=4)), "how its descriptor was made"),
        ((call("KVM_SET_CPUID2", of=9),), "how its descriptor was made"),
        ((VM, VCPU, call("KVM_SET_CPUID2", of=5)), "its bytes are not in the log"),
        ((call("KVM_SET_SREGS", of=9),), "how its descriptor was made"),
        ((VM, VCPU, call("KVM_SET_SREGS", of=5)), "its bytes are not in the log"),
        ((call("KVM_GET_REGS", of=9),), "how its descriptor was made"),
        ((call("ARCH_REQ_XCOMP_PERM", None, of=-1),), "its bytes are not in the log"),
        ((call("KVM_CHECK_EXTENSION", "KVM_CAP_OF_TOMORROW"),), "a capability that the machine does not know"),
        # KVM_CAP_NR_VCPUS is the number of the host's CPUs.
        ((call("KVM_CHECK_EXTENSION", 9),), "what the log does not tell of the host"),
        ((call("KVM_IRQFD", of=4),), "no rule for it"),
    ],
)
def test_what_is_not_asked(calls: tuple[Call, ...], why: str) -> None:
    found = compared(*calls)
    assert (found.outcome, found.agrees) == (None, None)
    assert why in found.why


@pytest.mark.parametrize(
    ("calls", "agrees"),
    [
        ((call("KVM_GET_API_VERSION", result=12),), True),
        ((call("KVM_GET_API_VERSION", result=11),), False),
        # KVM_CAP_MEMORY_ATTRIBUTES is of VMs that can have private memory, and of /dev/kvm (kvm_arch_has_private_mem).
        ((call("KVM_CHECK_EXTENSION", 233, result=8),), True),
        ((VM, call("KVM_CHECK_EXTENSION", 233, of=4, result=8)), False),
        ((VM, call("KVM_CHECK_EXTENSION", 233, of=4, result=0)), True),
        ((call("KVM_CREATE_VM", "KVM_X86_DEFAULT_VM", result=4), VCPU), True),
        # KVM_CREATE_VM that fails made no VM; one whose number the log cuts is not compared.
        ((call("KVM_CREATE_VM", 0, result=-1, error="ENOMEM"),), False),
        ((call("KVM_CREATE_VM", 0, result=None),), None),
        ((VM, VCPU), True),
        ((VM, call("KVM_CREATE_VCPU", 0, of=4, result=None)), None),
        ((VM, VCPU, call("KVM_CREATE_VCPU", 0, of=4, result=-1, error="EEXIST")), True),
        ((VM, VCPU, call("KVM_GET_REGS", of=5)), True),
        ((call("ARCH_GET_XCOMP_GUEST_PERM", 0, of=-1),), True),
        ((call("ARCH_REQ_XCOMP_GUEST_PERM", 18, of=-1),), True),
        # From the first vCPU on guest permission stays as it is (xstate_request_perm: EBUSY).
        ((VM, VCPU, call("ARCH_REQ_XCOMP_GUEST_PERM", 18, of=-1, result=-1, error="EBUSY")), True),
        ((call("ARCH_REQ_XCOMP_PERM", 18, of=-1, result=-1, error="EPERM"),), False),
    ],
)
def test_what_is_asked(calls: tuple[Call, ...], agrees: bool | None) -> None:
    found = compared(*calls)
    assert found.outcome is not None
    assert found.agrees is agrees


def test_bytes_of_a_call_are_set() -> None:
    table = cpuid2_pack([(0, 0, 0, 0xD, 0x756E6547, 0x6C65746E, 0x49656E69)])
    assert compared(VM, VCPU, call("KVM_SET_CPUID2", {"entries": []}, of=5), data=table).agrees
    fresh = sregs.get_sregs(WholeVcpu(kvm()))
    assert compared(VM, VCPU, call("KVM_SET_SREGS", {"cr0": 1}, of=5), data=fresh).agrees


def test_a_guests_table_in_the_place_of_a_host() -> None:
    """What the host alone decides is not asked then: the size of its XSAVE image."""
    one = call("KVM_CHECK_EXTENSION", "KVM_CAP_XSAVE2", result=11008)
    assert compared(one).agrees is not None
    assert compared(one, stands_in=True).agrees is None
