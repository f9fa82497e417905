"""A vCPU's first KVM_RUN that fails, and the next one."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.arm64 import vgic
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import PMU_V3, PSCI_0_2
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.kernels import kernels, profile_for
from layouts.kernels import update_number

_GICV3 = 7


def vcpu_on(release: str) -> Vcpu:
    vm = Vm(from_bare(profile_for(release), [bare_hosts()["neoverse-v1"]]))
    vm.create_vcpu(0)
    vm.vcpus[0].init(PSCI_0_2 | PMU_V3)
    assert vgic.create(vm, _GICV3).accepted
    assert vgic.set_addresses(vm).accepted
    return vm.vcpus[0]


@pytest.mark.parametrize(
    ("release", "next_one", "is_dead"),
    [("5.10", 0, False), ("6.1", errno.EBUSY, True), ("6.6", errno.EBUSY, False), ("7.2", errno.EBUSY, True)],
)
def test_a_first_run_without_an_initialized_gic(release: str, next_one: int, is_dead: bool) -> None:
    """Linux 5.10 sets has_run_once before it asks (kvm_vcpu_first_run_init): the next KVM_RUN enters the guest."""
    vcpu = vcpu_on(release)
    assert vcpu.enter().code == errno.EBUSY
    assert vcpu.vm.is_dead is is_dead
    assert not vcpu.ran
    again = vcpu.enter()
    assert again.code == next_one
    assert vcpu.ran is again.accepted
    if again.accepted:
        assert "counts as the first" in again.because
        # kvm_arm_pmu_v3_enable was not called: the guest sees no PMU.
        assert not vcpu.pmu_ready


def test_a_gic_that_was_not_ready_is_taken_down() -> None:
    vcpu = vcpu_on("6.6")
    vgic.initialize(vcpu.vm)
    vcpu.vm.vgic_has_addresses = False
    assert vcpu.enter().code == errno.ENXIO
    vcpu.vm.vgic_has_addresses = True
    assert vcpu.enter().code == errno.EBUSY


def test_a_stable_update_has_its_own_rules() -> None:
    """Linux 6.6.67 took commit 6685f5d572c2: MPAM is hidden, and taken at the host's value."""
    assert not profile_for("6.6").ignores_mpam
    assert profile_for("6.6.66") == kernels()["6.6"]
    found = profile_for("6.6.119-generic")
    assert found.ignores_mpam
    assert found.version.endswith("what 6.6.67 changed")
    assert profile_for("6.5.67").answers_for == "6.5"
    assert not profile_for("6.5.67").ignores_mpam


@pytest.mark.parametrize(
    ("release", "update"),
    [("6.6.67", 67), ("Linux 6.6.9-x", 9), ("6.6", None), ("6.6-rc1.3", None), ("6.6.", None), ("next", None)],
)
def test_the_number_of_a_stable_update(release: str, update: int | None) -> None:
    assert update_number(release) == update
