"""A vCPU's first KVM_RUN that fails, and the next one."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.arm64 import listed, vgic
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import PMU_V3, PMU_V3_STRICT, PSCI_0_2
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from layouts.arm64 import id_fields as of
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.ids import DFR0, ISAR2, MMFR1, MMFR3, sysreg_id
from layouts.arm64.kernels import kernels, profile_for
from layouts.kernels import update_number
from layouts.vocabulary import Bits

_GICV3 = 7
_PIR_EL1 = sysreg_id(0xC513)


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
    ("release", "unmet", "kept"),
    [
        ("7.3-arm64", (ISAR2, of.ISAR2_ATS1A), True),
        ("7.3.4", (ISAR2, of.ISAR2_ATS1A), False),
        ("7.3.4", (MMFR3, of.MMFR3_TCRX), False),
        ("7.3.4", (MMFR1, of.MMFR1_HPDS), True),
    ],
)
def test_the_first_run_holds_features_to_each_other(release: str, unmet: tuple[int, Bits], kept: bool) -> None:
    """kvm_idregs_enforce_dependencies of Linux 7.3.4: a guest of 7.1, which had no ATS1A, loses S1PIE there.

    What ran 7.3-rc7 kept it.
    """
    vm = Vm(from_bare(profile_for(release), [bare_hosts()["max"]]))
    vm.create_vcpu(0)
    vcpu = vm.vcpus[0]
    vcpu.init(PSCI_0_2)
    encoding, field = unmet
    without = field.put(vm.id_registers[encoding], 0)
    assert vcpu.set(sysreg_id(encoding), without.to_bytes(8, "little")).accepted
    before = vm.id_registers[MMFR3]
    assert of.MMFR3_S1PIE.get(before)
    assert _PIR_EL1 in listed.register_ids(vcpu)
    assert vcpu.enter().accepted
    assert bool(of.MMFR3_S1PIE.get(vm.id_registers[MMFR3])) is kept
    assert (_PIR_EL1 in listed.register_ids(vcpu)) is kept
    again = vcpu.set(sysreg_id(MMFR3), before.to_bytes(8, "little"))
    assert again.code == (0 if kept else errno.EBUSY)


def test_a_strict_pmu_has_to_be_chosen() -> None:
    """kvm_arm_pmu_v3_init of Linux 7.3: a vCPU with KVM_ARM_VCPU_PMU_V3_STRICT has no PMU by itself."""
    vm = Vm(from_bare(profile_for("7.3"), [bare_hosts()["neoverse-v1"]]))
    vm.create_vcpu(0)
    vcpu = vm.vcpus[0]
    assert vcpu.init(PSCI_0_2 | PMU_V3 | PMU_V3_STRICT).accepted
    assert vcpu.init_pmu().code == errno.ENXIO
    assert vcpu.enter().code == errno.EINVAL


@pytest.mark.parametrize(("release", "is_writable"), [("6.17", False), ("6.17.13+deb13-arm64", True), ("6.18", True)])
def test_aarch32_id_registers_were_writable_again_by_an_update(release: str, is_writable: bool) -> None:
    """sys_regs.c of Linux 6.17.0 has AA32_ID_SANITISED as 6.16 has; what ran 6.17.13 took other values."""
    assert bool(profile_for(release).registers[0xC008].mask) is is_writable


@pytest.mark.parametrize(("release", "is_signed"), [("7.0", True), ("7.0.13+deb13-arm64", False), ("7.1", False)])
def test_the_pmus_version_became_unsigned_by_an_update(release: str, is_signed: bool) -> None:
    """cpufeature.c of Linux 7.0.0 has S_ARM64_FTR_BITS for ID_AA64DFR0_EL1.PMUVer as 6.19 has."""
    (found,) = (one for one in profile_for(release).fields[DFR0] if one.name == "PMUVer")
    assert found.signed is is_signed


@pytest.mark.parametrize(
    ("release", "update"),
    [("6.6.67", 67), ("Linux 6.6.9-x", 9), ("6.6", None), ("6.6-rc1.3", None), ("6.6.", None), ("next", None)],
)
def test_the_number_of_a_stable_update(release: str, update: int | None) -> None:
    assert update_number(release) == update
