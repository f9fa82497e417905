"""A vCPU's life: what init, finalize, the PMU's attributes and a run ask, their bounds, their errno, what they leave.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_run_pid_change), reset.c (kvm_reset_vcpu, kvm_arm_vcpu_finalize),
pmu-emul.c (kvm_arm_pmu_v3_set_attr, kvm_arm_pmu_v3_init, kvm_arm_pmu_v3_enable).
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import sve
from inspector.machine.arm64.arch import AtReset
from inspector.machine.arm64.host import HAS_EL2, MTE, PMU_V3, PSCI_0_2, SVE
from inspector.machine.arm64.vcpu import MMIO, Vcpu
from inspector.machine.arm64.vm import CAP_MTE, Vm
from inspector.machine.arm64.world.matrix import FEATURES, touched
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.ids import CCSIDR, CLIDR, CTR, ISAR0, MPIDR, PFR0, SVE_VLS, sysreg_id
from tests.machine.arm64_bounds import answer, full_host, get, put, rid, vcpu_on


def test_registers_after_init() -> None:
    vcpu = vcpu_on(full_host(), PSCI_0_2 | SVE)
    assert vcpu.vq == 4
    assert vcpu.vm.create_vcpu(0x123).accepted
    other = vcpu.vm.vcpus[0x123]
    assert other.init(PSCI_0_2 | SVE).accepted
    assert (get(vcpu, sysreg_id(MPIDR)), get(other, sysreg_id(MPIDR))) == (1 << 31, 1 << 31 | 3)
    assert get(other, sysreg_id(CLIDR)) == 0x1234
    assert put(vcpu, ids.X0, 7) == put(vcpu, CCSIDR, 7) == "ok"
    assert put(vcpu, SVE_VLS, 0b11) == "ok"
    vcpu.sve["z0"] = b"\1"
    assert vcpu.init(PSCI_0_2 | SVE).accepted
    # Caches stay, registers and lengths do not.
    assert (get(vcpu, ids.X0), get(vcpu, CCSIDR), vcpu.vq, vcpu.sve) == (0, 7, 4, {})
    assert put(vcpu, SVE_VLS, 0b11) == "ok"
    assert vcpu.finalize(sve.FINALIZE).accepted
    assert vcpu.init(PSCI_0_2 | SVE).accepted
    assert vcpu.vq == 2, "final"
    assert vcpu_on(full_host()).vq == 0


@pytest.mark.parametrize(("kernel", "kept"), [("6.6", False), ("6.12", True)])
def test_another_init_and_the_vcpus_own_registers(kernel: str, kept: bool) -> None:
    on = full_host(kernel, {CTR: of.CTR_IDC.put(0, 1)})
    vcpu = vcpu_on(on)
    assert put(vcpu, sysreg_id(MPIDR), 0x55) == put(vcpu, sysreg_id(CLIDR), 0x11) == "ok"
    assert vcpu.init(PSCI_0_2).accepted
    assert get(vcpu, sysreg_id(MPIDR)) == (0x55 if kept else 1 << 31)
    assert get(vcpu, sysreg_id(CLIDR)) == (0x11 if kept else 0x1234)


def test_a_vm_is_of_its_first_vcpu() -> None:
    vcpu = vcpu_on(full_host(), PSCI_0_2 | PMU_V3)
    assert (vcpu.vm.features, vcpu.vm.pmu_counters) == (PSCI_0_2 | PMU_V3, 6)
    vcpu.vm.pmu_counters = 2
    vcpu.vm.id_registers[ISAR0] = 0x11
    assert vcpu.init(PSCI_0_2 | PMU_V3).accepted
    assert (vcpu.vm.pmu_counters, vcpu.vm.id_registers[ISAR0]) == (2, 0x11)
    assert vcpu.init(PSCI_0_2).name == "EINVAL"
    with_mte = Vm(full_host(mte=True))
    assert with_mte.enable_cap(CAP_MTE).accepted
    assert with_mte.create_vcpu(0).accepted
    assert with_mte.vcpus[0].init(PSCI_0_2).accepted
    assert with_mte.id_registers[CLIDR] == 0x5555
    assert with_mte.vcpus[0].id_features == PSCI_0_2 | MTE


def test_before_6_5_id_registers_follow_each_vcpu() -> None:
    on = full_host("6.1", {PFR0: 0x12 | 1 << 32 | 1 << 56 | 1 << 60, ISAR0: 0x22})
    vcpu = vcpu_on(on, PSCI_0_2 | SVE)
    vcpu.vm.id_registers[PFR0] = vcpu.vm.id_registers[PFR0] & ~(1 << 56) & ~1
    assert vcpu.id_value(PFR0) == 0x12 | 1 << 32 | 1 << 60
    vcpu.vm.id_registers[PFR0] ^= 1 << 60 | 1 << 56
    assert vcpu.id_value(PFR0) == 0x12 | 1 << 32 | 1 << 56
    vcpu.vm.id_registers[ISAR0] = 1
    assert vcpu.id_value(ISAR0) == 0x22
    vcpu.features = PSCI_0_2
    assert vcpu.id_value(PFR0) == 0x12 | 1 << 56
    new = vcpu_on(full_host())
    new.vm.id_registers[ISAR0] = 1
    assert new.id_value(ISAR0) == 1


def test_finalize() -> None:
    vcpu = vcpu_on(full_host(), PSCI_0_2 | SVE)
    assert (vcpu.has_sve, vcpu.is_final) == (True, False)
    for feature in (0, 3, 5):
        assert answer(vcpu.finalize(feature)) == "EINVAL"
    assert answer(vcpu.reg_list()) == answer(vcpu.enter()) == "EPERM"
    assert answer(vcpu.finalize(sve.FINALIZE)) == "ok"
    assert (vcpu.sve_finalized, vcpu.is_final) == (True, True)
    assert answer(vcpu.finalize(sve.FINALIZE)) == "EPERM"
    assert answer(vcpu_on(full_host()).finalize(sve.FINALIZE)) == "EINVAL"
    proposed = vcpu_on(full_host(), PSCI_0_2 | SVE, abi="proposal")
    assert answer(proposed.finalize(sve.FINALIZE)) == "EINVAL"
    assert (proposed.is_final, proposed.sve_finalized) == (True, False)
    fresh = Vcpu(Vm(full_host()), 0)
    fresh.features = SVE
    assert answer(fresh.finalize(sve.FINALIZE)) == answer(fresh.reg_list()) == answer(fresh.enter()) == "ENOEXEC"
    assert (fresh.has_sve, fresh.is_final) == (False, True)


def test_the_list_of_registers() -> None:
    vcpu = vcpu_on(full_host())
    found = vcpu.reg_list()
    assert answer(found) == "ok"
    assert len(found.image) == 8 * found.value
    listed = [int.from_bytes(found.image[at : at + 8], "little") for at in range(0, len(found.image), 8)]
    known = vcpu.register_ids()
    assert known == [one for one in listed if one in known]
    assert {ids.X0, sysreg_id(PFR0), sysreg_id(MPIDR), sysreg_id(CLIDR), CCSIDR} <= set(known) < set(listed)
    assert rid("TTBR0_EL1") not in known
    vcpu.host.registers[rid("TTBR0_EL1")] = bytes(8)
    assert rid("TTBR0_EL1") in vcpu.register_ids()


# Its PMU


@pytest.mark.parametrize("kernel", ["5.10", "6.1", "7.2"])
def test_a_pmu_with_a_gic_needs_an_interrupt(kernel: str) -> None:
    vcpu = vcpu_on(full_host(kernel), PSCI_0_2 | PMU_V3)
    assert answer(vcpu.set_pmu_irq()) == "EINVAL"
    vcpu.vm.vgic, vcpu.vm.vgic_has_addresses = 3, True
    assert answer(vcpu.init_pmu()) == "ENODEV"
    vcpu.vm.vgic_initialized = True
    assert answer(vcpu.init_pmu()) == "ENXIO"
    assert answer(vcpu.enter()) == ("ok" if kernel == "5.10" else "EINVAL")
    vcpu.ran = vcpu.vm.ran = False
    assert answer(vcpu.set_pmu_irq()) == "ok"
    assert (vcpu.pmu_has_irq, answer(vcpu.set_pmu_irq())) == (True, "EBUSY")
    assert answer(vcpu.init_pmu()) == "ok"
    assert (vcpu.pmu_created, answer(vcpu.init_pmu()), answer(vcpu.set_pmu_irq())) == (True, "EBUSY", "EBUSY")
    assert answer(vcpu.enter()) == "ok"
    # Initialized without a GIC, which the VM got then.
    vcpu.ran = vcpu.tried = vcpu.pmu_has_irq = False
    assert answer(vcpu.enter()) == "EINVAL"
    vcpu.vm.vgic, vcpu.tried = 0, False
    assert answer(vcpu.enter()) == "ok"


@pytest.mark.parametrize(("kernel", "name"), [("5.10", "ok"), ("6.1", "EINVAL"), ("7.2", "EINVAL")])
def test_a_pmu_is_initialized_before_the_first_run(kernel: str, name: str) -> None:
    vcpu = vcpu_on(full_host(kernel), PSCI_0_2 | PMU_V3)
    assert answer(vcpu.enter()) == name
    assert answer(vcpu.init_pmu()) == answer(vcpu.enter()) == "ok"
    none = vcpu_on(full_host(kernel))
    assert answer(none.init_pmu()) == answer(none.set_pmu_irq()) == "ENODEV"
    assert answer(none.enter()) == "ok"


# Runs


def test_a_run_goes_up_to_a_device() -> None:
    vcpu = vcpu_on(full_host())
    first = vcpu.run()
    assert vcpu.vm.el2_masks == {}
    assert (answer(first), first.value, vcpu.mmio_pending, get(vcpu, ids.PC)) == ("ok", MMIO, True, 0)
    assert answer(vcpu.enter()) == "ok"
    assert (vcpu.mmio_pending, get(vcpu, ids.PC)) == (False, 4)
    assert answer(vcpu.enter()) == "ok"
    assert get(vcpu, ids.PC) == 4
    vcpu.initialized = False
    refused = vcpu.run()
    assert (answer(refused), refused.value, vcpu.mmio_pending) == ("ENOEXEC", 0, False)


def test_a_nested_guest_needs_a_gicv3() -> None:
    vcpu = vcpu_on(full_host(), PSCI_0_2 | HAS_EL2)
    assert answer(vcpu.enter()) == "EAGAIN"
    vcpu.vm.vgic, vcpu.vm.vgic_has_addresses = 2, True
    assert answer(vcpu.enter()) == "EAGAIN"
    vcpu.vm.vgic, vcpu.vm.vgic_initialized = 3, True
    assert answer(vcpu.enter()) == "ok"


def test_a_pointer_that_cannot_be_written_through() -> None:
    vcpu = vcpu_on(full_host())
    assert answer(vcpu.get(ids.X0, readable=False)) == "EFAULT"
    assert vcpu.get(ids.X0, readable=False).source == vcpu.get(ids.X0).source
    assert answer(vcpu.get(1, readable=False)) == "EINVAL"


def test_a_vm_and_a_vcpu_of_which_nothing_was_asked() -> None:
    vm = Vm(full_host())
    assert (vm.abi, vm.vgic, vm.has_vgic, vm.vgic_initialized, vm.vgic_has_addresses) == (
        "merged",
        0,
        False,
        False,
        False,
    )
    assert (vm.is_dead, vm.ipa_bits, vm.memory, vm.vcpus, vm.features, vm.width) == (False, 40, {}, {}, None, None)
    assert (vm.mte, vm.pmu_counters, vm.writable_imp, vm.ran, vm.psci_version) == (0, 0, False, False, 0)
    assert (vm.id_registers, vm.bitmaps, vm.protected, vm.el2_masks) == ({}, {}, False, {})
    with_gic = Vm(full_host(), abi="proposal", has_vgic=True)
    assert (with_gic.vgic, with_gic.has_vgic, with_gic.abi) == (3, True, "proposal")
    vcpu = Vcpu(vm, 7)
    assert (vcpu.vm, vcpu.host, vcpu.number, vcpu.features) == (vm, vm.host, 7, 0)
    flags = (vcpu.sve_finalized, vcpu.ran, vcpu.pmu_created, vcpu.pmu_has_irq, vcpu.mmio_pending, vcpu.powered_off)
    assert [vcpu.initialized, *flags] == [False] * 7
    assert (vcpu.pmu_at_reset, vcpu.vq, vcpu.values, vcpu.sve) == (AtReset(), 0, {}, {})
    assert answer(vcpu.init(PSCI_0_2, 99)) == "EINVAL"
    assert vcpu.initialized is False
    assert answer(vcpu.init(PSCI_0_2 | PMU_V3)) == "ok"
    assert vcpu.pmu_at_reset.counters == 0x8000_003F


def test_what_a_feature_gives_is_what_its_event_answers() -> None:
    """A vCPU whose SVE is not final cannot run: every row says so, as the guest's instruction does."""
    vm = Vm(full_host())
    vm.create_vcpu(0)
    vcpu = vm.vcpus[0]
    assert vcpu.init(PSCI_0_2 | SVE).accepted
    fp, sve_row = (one for one in FEATURES if one.instruction in ("fadd", "rdvl"))

    def gives() -> list[str]:
        return [answer(outcome) for one in (fp, sve_row) if (outcome := touched(one, vcpu)) is not None]

    assert gives() == ["EPERM", "EPERM"]
    assert vcpu.finalize(sve.FINALIZE).accepted
    assert gives() == ["FP trap", "SVE trap"]
