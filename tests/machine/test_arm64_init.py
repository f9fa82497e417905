"""KVM_ARM_VCPU_INIT check by check: vm-wide (6.6 and later), bit by bit before, with the VM's width (6.1) or without.

Source: Linux arch/arm64/kvm/arm.c (kvm_vcpu_init_check_features, kvm_vcpu_set_target), reset.c (kvm_reset_vcpu).
"""

from __future__ import annotations

import copy
import errno

import pytest

from inspector.machine.arm64 import init
from inspector.machine.arm64.arch import KvmArch, VcpuArch
from inspector.machine.arm64.host import (
    EL1_32BIT,
    HAS_EL2,
    PMU_V3,
    PMU_V3_STRICT,
    PSCI_0_2,
    PTRAUTH,
    PTRAUTH_ADDRESS,
    SVE,
)
from inspector.machine.arm64.vm import Vm
from tests.machine.support import host_named

ALL = EL1_32BIT | PSCI_0_2 | PMU_V3 | PTRAUTH | SVE | HAS_EL2
BOTH_AND_HOSTS = "both pointer authentication features or none, and the host's"


def vcpus(kernel: str, features: int, *, mte: int = 0) -> tuple[KvmArch, VcpuArch, VcpuArch]:
    """A VM with two vCPUs on a host that can do these features and no others."""
    host = copy.copy(host_named(f"max@{kernel}"))
    host.features = features
    vm = Vm(host)
    assert vm.create_vcpu(0).accepted
    assert vm.create_vcpu(1).accepted
    vm.mte = mte
    return vm, vm.vcpus[0], vm.vcpus[1]


@pytest.mark.parametrize(
    ("kernel", "hosts", "asked", "mte", "code", "because"),
    [
        ("7.2", ALL, 1 << 9, 0, errno.ENOENT, "only features that the kernel knows (0x1ff)"),
        ("7.2", ALL & ~SVE, SVE, 0, errno.EINVAL, f"only features that the host supports ({ALL & ~SVE | 1 << 8:#x})"),
        ("7.3", ALL & ~PMU_V3, PMU_V3_STRICT, 0, errno.EINVAL, None),
        ("7.3", ALL, PMU_V3_STRICT, 0, errno.EINVAL, "PMU_V3_STRICT only with PMU_V3"),
        ("7.3", ALL, PMU_V3_STRICT | PMU_V3, 0, 0, None),
        ("7.2", ALL, PTRAUTH_ADDRESS, 0, errno.EINVAL, "both pointer authentication features or none"),
        ("7.2", ALL, PTRAUTH, 0, 0, None),
        ("7.2", ALL, EL1_32BIT, 1, errno.EINVAL, "not 32-bit EL1 with MTE"),
        ("7.2", ALL, EL1_32BIT, 0, 0, None),
        ("7.2", ALL, PSCI_0_2, 1, 0, None),
        ("7.2", ALL, EL1_32BIT | HAS_EL2, 0, errno.EINVAL, "not 32-bit EL1 with EL2"),
        ("7.2", ALL, HAS_EL2, 0, 0, None),
        ("5.10", ALL, 1 << 7, 0, errno.ENOENT, "only features that the kernel knows (bits 0 to 6)"),
        ("5.10", ALL, 1 << 200, 0, errno.ENOENT, "only features that the kernel knows (bits 0 to 6)"),
        ("5.10", ALL & ~SVE, SVE, 0, errno.EINVAL, "the host has SVE"),
        ("5.10", ALL, SVE, 0, 0, None),
        ("5.10", ALL & ~PTRAUTH, PTRAUTH, 0, errno.EINVAL, BOTH_AND_HOSTS),
        ("5.10", ALL, PTRAUTH_ADDRESS, 0, errno.EINVAL, BOTH_AND_HOSTS),
        ("5.10", ALL, PTRAUTH, 0, 0, None),
        ("5.10", ALL & ~PMU_V3, PMU_V3, 0, errno.EINVAL, "the host has a PMU"),
        ("5.10", ALL & ~SVE, PSCI_0_2, 0, 0, None),
        ("5.10", ALL & ~PMU_V3, PSCI_0_2, 0, 0, None),
        ("5.10", ALL, PMU_V3, 0, 0, None),
        ("5.10", ALL & ~EL1_32BIT, EL1_32BIT, 0, errno.EINVAL, "the host has 32-bit EL1"),
        ("6.1", ALL & ~EL1_32BIT, EL1_32BIT, 0, errno.EINVAL, "the host has 32-bit EL1"),
        ("6.1", ALL, EL1_32BIT, 1, errno.EINVAL, "not 32-bit EL1 with MTE"),
        ("6.1", ALL, EL1_32BIT, 0, 0, None),
        ("6.1", ALL, PSCI_0_2, 1, 0, None),
    ],
)  # fmt: skip
def test_what_a_first_vcpu_may_have(
    kernel: str, hosts: int, asked: int, mte: int, code: int, because: str | None
) -> None:
    _, vcpu, _ = vcpus(kernel, hosts, mte=mte)
    outcome = init.check(vcpu, asked, None)
    assert outcome.code == code, outcome
    assert because is None or outcome.because == because
    assert outcome.source == "kvm_vcpu_init_check_features, kvm_vcpu_set_target (arm.c)"
    assert vcpu.features == asked or not outcome.accepted


def test_all_vcpus_have_the_features_of_the_first_from_6_6_on() -> None:
    vm, one, other = vcpus("7.2", ALL)
    assert vm.vcpus[0].init(PSCI_0_2).accepted
    refused = init.check(other, PSCI_0_2 | SVE, None)
    assert (refused.code, refused.because) == (errno.EINVAL, "the same features as the VM's first vCPU")
    assert init.check(other, PSCI_0_2, None).accepted
    assert one.features == PSCI_0_2


@pytest.mark.parametrize(
    ("kernel", "because"),
    [("5.10", "every vCPU of the VM has the same register width"), ("6.1", "the register width is the VM's")],
)
def test_all_vcpus_have_one_width(kernel: str, because: str) -> None:
    """Before 6.1 a vCPU that nobody has initialized counts as a 64-bit one; then the first decides."""
    vm, _, other = vcpus(kernel, ALL)
    assert vm.vcpus[0].init(PSCI_0_2).accepted
    refused = init.check(other, EL1_32BIT, None)
    assert (refused.code, refused.because) == (errno.EINVAL, because)
    assert (other.initialized, other.features) == (False, 0)
    assert init.check(other, PSCI_0_2, None).accepted


def test_before_6_6_another_init_has_the_same_bits() -> None:
    vm, vcpu, _ = vcpus("5.10", ALL)
    assert vm.vcpus[0].init(PSCI_0_2 | SVE).accepted
    refused = init.check(vcpu, PSCI_0_2, None)
    assert (refused.code, refused.because) == (errno.EINVAL, "bit 4 is as in the vCPU's init before")
    assert init.check(vcpu, PSCI_0_2 | SVE, None).accepted


@pytest.mark.parametrize(("kernel", "generic"), [("6.1", False), ("7.2", True)])
def test_the_target_is_the_hosts_or_the_generic_one(kernel: str, generic: bool) -> None:
    for cpu, target in (("max", init.GENERIC_V8), ("cortex-a57", 2)):
        vm = Vm(host_named(f"{cpu}@{kernel}"))
        assert vm.host.target == target
        assert vm.create_vcpu(0).accepted
        assert init.check(vm.vcpus[0], PSCI_0_2, target).accepted
        assert init.check(vm.vcpus[0], PSCI_0_2, 99).code == errno.EINVAL
        assert init.check(vm.vcpus[0], PSCI_0_2, init.GENERIC_V8).accepted is (generic or target == init.GENERIC_V8)
