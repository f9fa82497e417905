"""What a VMM asks of a VM, its GIC, its memory and a vCPU's life: each check, its bounds, its errno, what it leaves.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_init_vm, kvm_vm_ioctl_enable_cap, kvm_arch_vcpu_precreate,
kvm_arch_vcpu_run_pid_change), reset.c (kvm_reset_vcpu, kvm_arm_vcpu_finalize), pmu-emul.c (kvm_arm_pmu_v3_set_attr,
kvm_arm_pmu_v3_init, kvm_arm_pmu_v3_enable), vgic/vgic-init.c; virt/kvm/kvm_main.c (kvm_vm_ioctl_create_vcpu,
kvm_set_memory_region).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64 import sve, vgic
from inspector.machine.arm64.arch import AtReset
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, MTE, PMU_V3, PSCI_0_2, SVE, Host
from inspector.machine.arm64.vcpu import MMIO, Vcpu
from inspector.machine.arm64.vm import CAP_MTE, CAP_WRITABLE_IMP_ID_REGS, Vm
from inspector.machine.arm64.world.matrix import FEATURES, touched
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.ids import CCSIDR, CLIDR, CTR, ISAR0, MPIDR, PFR0, PFR1_AARCH32, SVE_VLS, sysreg_id
from layouts.arm64.kernels import kernels
from tests.machine.arm64_bounds import answer, get, put, rid, vcpu_on

EVERY = PSCI_0_2 | PMU_V3 | SVE | HAS_EL2 | EL1_32BIT
U64 = (1 << 64) - 1


def host(kernel: str = "7.2", limits: Mapping[int, int] | None = None, *, gic: int = 3, mte: bool = False) -> Host:
    known = {PFR0: 0x1222 | 1 << 24, PFR1_AARCH32: 1 << 28, CLIDR: 0x1234, ISAR0: 0x22, **(limits or {})}
    with_mte = {CLIDR: 0x5555} if mte else None
    return Host(kernels()[kernel], known, features=EVERY, sve_vqs=0b1011, with_mte=with_mte, gic=gic)


# Capabilities and vCPUs


@pytest.mark.parametrize(
    ("kernel", "mte", "capability", "name"),
    [
        ("7.2", True, CAP_MTE, "ok"),
        ("7.2", False, CAP_MTE, "EINVAL"),
        ("5.10", True, CAP_MTE, "EINVAL"),
        ("7.2", True, CAP_WRITABLE_IMP_ID_REGS, "ok"),
        ("6.12", True, CAP_WRITABLE_IMP_ID_REGS, "EINVAL"),
        ("7.2", True, 177, "ok"),
        ("7.2", True, 216, "ok"),
        ("5.10", True, 216, "EINVAL"),
        ("7.2", True, 245, "ok"),
        ("6.6", True, 245, "EINVAL"),
        ("7.2", True, 178, "EINVAL"),
        ("7.2", True, 0, "EINVAL"),
    ],
)
def test_capabilities_of_a_vm(kernel: str, mte: bool, capability: int, name: str) -> None:
    vm = Vm(host(kernel, mte=mte))
    assert answer(vm.enable_cap(capability)) == name
    took = name == "ok"
    assert (vm.mte, vm.writable_imp) == (
        MTE if took and capability == CAP_MTE else 0,
        took and capability == CAP_WRITABLE_IMP_ID_REGS,
    )
    late = Vm(host(kernel, mte=mte))
    assert late.create_vcpu(0).accepted
    passed_on = capability not in (CAP_MTE, CAP_WRITABLE_IMP_ID_REGS)
    assert answer(late.enable_cap(capability)) == (name if passed_on else "EINVAL")


@pytest.mark.parametrize(("gic", "made", "most"), [(3, 0, 512), (2, 0, 8), (0, 0, 512), (3, 3, 512), (2, 2, 8)])
def test_numbers_of_vcpus(gic: int, made: int, most: int) -> None:
    vm = Vm(host(gic=gic))
    vm.vgic = made
    assert answer(vm.create_vcpu(most - 1)) == "ok"
    assert (vm.vcpus[most - 1].number, vm.vcpus[most - 1].vm) == (most - 1, vm)
    assert answer(vm.create_vcpu(most - 1)) == "EEXIST"
    assert answer(vm.create_vcpu(most)) == "EINVAL"
    vm.vgic_initialized = True
    # What no VM has is looked at first, the GIC before what this one has.
    assert answer(vm.create_vcpu(512)) == "EINVAL"
    assert answer(vm.create_vcpu(511)) == answer(vm.create_vcpu(most - 1)) == "EBUSY"


@pytest.mark.parametrize(("kernel", "full"), [("5.10", "EBUSY"), ("6.1", "EINVAL"), ("7.2", "EINVAL")])
def test_a_full_vm_is_asked_first(kernel: str, full: str) -> None:
    """kvm->max_vcpus of kvm_vm_ioctl_create_vcpu comes before the GIC; in 5.10 it is KVM_MAX_VCPUS there."""
    vm = Vm(host(kernel, gic=2))
    assert all(vm.create_vcpu(number).accepted for number in range(7))
    vm.vgic_initialized = True
    assert answer(vm.create_vcpu(0)) == "EBUSY"
    vm.vgic_initialized = False
    assert vm.create_vcpu(7).accepted
    vm.vgic_initialized = True
    assert answer(vm.create_vcpu(0)) == full


def test_strict_pmu_is_asked_about_where_it_is_known() -> None:
    """KVM_ARM_VCPU_PMU_V3_STRICT is of 7.3."""
    texts = {}
    for release in ("7.2", "7.3"):
        vm = Vm(host(release))
        assert vm.create_vcpu(0).accepted
        texts[release] = [one.text for one in vm.vcpus[0].init(PSCI_0_2).checks]
    assert "PMU_V3_STRICT only with PMU_V3" not in texts["7.2"]
    assert "PMU_V3_STRICT only with PMU_V3" in texts["7.3"]


@pytest.mark.parametrize(
    ("kernel", "range_number", "reserved", "readable", "name"),
    [
        ("7.2", 0, 0, True, "ok"),
        ("7.2", 1, 0, True, "EINVAL"),
        ("7.2", 0, 1, True, "EINVAL"),
        ("7.2", 1, 1, False, "EINVAL"),
        ("7.2", 0, 0, False, "EFAULT"),
        ("6.6", 0, 0, True, "EINVAL"),
    ],
)
def test_writable_masks(kernel: str, range_number: int, reserved: int, readable: bool, name: str) -> None:
    vm = Vm(host(kernel))
    assert answer(vm.writable_masks(range_number=range_number, reserved=reserved, readable=readable)) == name
    assert vm.writable_masks().accepted is (kernel == "7.2")


# Its GIC


def test_which_gic_a_host_has() -> None:
    for version, devices in ((3, (7, 8)), (2, (5,)), (0, ())):
        for device in range(12):
            name = answer(vgic.create(Vm(host(gic=version)), device))
            assert name == ("ok" if device in devices else "ENODEV")
    vm = Vm(host())
    assert answer(vgic.create(vm, 8)) == "ok"
    assert (vm.vgic, vm.has_vgic) == (0, False)
    assert answer(vgic.create(vm, 7)) == "ok"
    assert (vm.vgic, vm.has_vgic) == (3, True)
    assert answer(vgic.create(vm, 7)) == "EEXIST"
    old = Vm(host(gic=2))
    assert answer(vgic.create(old, 5)) == "ok"
    assert (old.vgic, old.has_vgic) == (2, False)


def test_a_gic_comes_before_the_first_run() -> None:
    vm = Vm(host("7.2"))
    for number in (0, 1):
        assert vm.create_vcpu(number).accepted
        assert vm.vcpus[number].init(PSCI_0_2).accepted
    assert vm.vcpus[1].enter().accepted
    assert answer(vgic.create(vm, 7)) == "EBUSY"
    assert vm.vgic == 0


@pytest.mark.parametrize(
    ("kernel", "version", "addresses", "initialized", "name", "dead"),
    [
        ("7.2", 3, False, False, "ENXIO", True),
        ("7.2", 3, False, True, "ENXIO", True),
        ("7.2", 3, True, False, "EBUSY", True),
        ("7.2", 3, True, True, "ok", False),
        ("7.2", 2, False, False, "ENXIO", True),
        ("7.2", 2, True, False, "ok", False),
        ("7.2", 0, False, False, "ok", False),
        ("6.6", 3, True, False, "EBUSY", False),
    ],
)
def test_what_the_first_run_asks_of_the_gic(
    kernel: str, version: int, addresses: bool, initialized: bool, name: str, dead: bool
) -> None:
    vcpu = vcpu_on(host(kernel))
    vcpu.vm.vgic = version
    if addresses:
        assert answer(vgic.set_addresses(vcpu.vm)) == "ok"
        assert answer(vgic.set_addresses(vcpu.vm)) == "EEXIST"
    if initialized:
        assert answer(vgic.initialize(vcpu.vm)) == "ok"
    assert answer(vcpu.enter()) == name
    assert (vcpu.vm.is_dead, vcpu.ran, vcpu.vm.ran) == (dead, name == "ok", name == "ok")
    assert vcpu.vm.vgic_initialized is ((bool(version) and name == "ok") or initialized)


GIC, GIC_32 = of.PFR0_GIC, of.PFR1_AARCH32_GIC


@pytest.mark.parametrize(
    ("kernel", "level", "version", "made", "ran"),
    [
        ("6.6", 2, 0, (1, 1), (1, 1)),
        ("6.12", 2, 0, (1, 1), (0, 0)),
        ("6.12", 2, 3, (0, 0), (0, 0)),
        ("6.18", 2, 3, (1, 1), (1, 1)),
        ("6.18", 1, 3, (1, 0), (1, 0)),
        ("6.18", 2, 2, (0, 0), (0, 0)),
        ("6.18", 2, 0, (1, 1), (0, 0)),
        ("7.1", 2, 3, (1, 1), (1, 1)),
    ],
)
def test_gic_fields_when_it_is_made_and_at_the_first_run(
    kernel: str, level: int, version: int, made: tuple[int, int], ran: tuple[int, int]
) -> None:
    """Of a VM that had them at 0 and gets a GIC, or at 1 and gets none."""
    gic = version or 3
    limits = {PFR0: 0x10 | level | 1 << 24, PFR1_AARCH32: 1 << 28}
    vcpu = vcpu_on(host(kernel, limits, gic=gic))
    registers = vcpu.vm.id_registers
    shown = 0 if version else 1
    for register, bits in ((PFR0, GIC), (PFR1_AARCH32, GIC_32)):
        registers[register] = bits.put(registers[register], shown)
    if version:
        assert vgic.create(vcpu.vm, {2: 5, 3: 7}[version]).accepted
    assert (GIC.get(registers[PFR0]), GIC_32.get(registers[PFR1_AARCH32])) == made
    vcpu.vm.vgic_has_addresses = vcpu.vm.vgic_initialized = True
    assert vcpu.enter().accepted
    assert (GIC.get(registers[PFR0]), GIC_32.get(registers[PFR1_AARCH32])) == ran


def test_a_first_run_settles_the_gic_fields_once() -> None:
    vcpu = vcpu_on(host("7.2"))
    vcpu.vm.vgic, vcpu.vm.vgic_has_addresses, vcpu.vm.vgic_initialized = 3, True, True
    registers = vcpu.vm.id_registers
    for ran, shown in ((False, 1), (True, 0)):
        registers[PFR0] = GIC.put(registers[PFR0], 0)
        vcpu.ran, vcpu.vm.ran = False, ran
        assert vcpu.enter().accepted
        assert GIC.get(registers[PFR0]) == shown
    del registers[PFR1_AARCH32]
    vcpu.ran = vcpu.vm.ran = False
    assert vcpu.enter().accepted
    assert PFR1_AARCH32 not in registers


# A vCPU


def test_registers_after_init() -> None:
    vcpu = vcpu_on(host(), PSCI_0_2 | SVE)
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
    assert vcpu_on(host()).vq == 0


@pytest.mark.parametrize(("kernel", "kept"), [("6.6", False), ("6.12", True)])
def test_another_init_and_the_vcpus_own_registers(kernel: str, kept: bool) -> None:
    on = host(kernel, {CTR: of.CTR_IDC.put(0, 1)})
    vcpu = vcpu_on(on)
    assert put(vcpu, sysreg_id(MPIDR), 0x55) == put(vcpu, sysreg_id(CLIDR), 0x11) == "ok"
    assert vcpu.init(PSCI_0_2).accepted
    assert get(vcpu, sysreg_id(MPIDR)) == (0x55 if kept else 1 << 31)
    assert get(vcpu, sysreg_id(CLIDR)) == (0x11 if kept else 0x1234)


def test_a_vm_is_of_its_first_vcpu() -> None:
    vcpu = vcpu_on(host(), PSCI_0_2 | PMU_V3)
    assert (vcpu.vm.features, vcpu.vm.pmu_counters) == (PSCI_0_2 | PMU_V3, 6)
    vcpu.vm.pmu_counters = 2
    vcpu.vm.id_registers[ISAR0] = 0x11
    assert vcpu.init(PSCI_0_2 | PMU_V3).accepted
    assert (vcpu.vm.pmu_counters, vcpu.vm.id_registers[ISAR0]) == (2, 0x11)
    assert vcpu.init(PSCI_0_2).name == "EINVAL"
    with_mte = Vm(host(mte=True))
    assert with_mte.enable_cap(CAP_MTE).accepted
    assert with_mte.create_vcpu(0).accepted
    assert with_mte.vcpus[0].init(PSCI_0_2).accepted
    assert with_mte.id_registers[CLIDR] == 0x5555
    assert with_mte.vcpus[0].id_features == PSCI_0_2 | MTE


def test_before_6_5_id_registers_follow_each_vcpu() -> None:
    on = host("6.1", {PFR0: 0x12 | 1 << 32 | 1 << 56 | 1 << 60, ISAR0: 0x22})
    vcpu = vcpu_on(on, PSCI_0_2 | SVE)
    vcpu.vm.id_registers[PFR0] = vcpu.vm.id_registers[PFR0] & ~(1 << 56) & ~1
    assert vcpu.id_value(PFR0) == 0x12 | 1 << 32 | 1 << 60
    vcpu.vm.id_registers[PFR0] ^= 1 << 60 | 1 << 56
    assert vcpu.id_value(PFR0) == 0x12 | 1 << 32 | 1 << 56
    vcpu.vm.id_registers[ISAR0] = 1
    assert vcpu.id_value(ISAR0) == 0x22
    vcpu.features = PSCI_0_2
    assert vcpu.id_value(PFR0) == 0x12 | 1 << 56
    new = vcpu_on(host())
    new.vm.id_registers[ISAR0] = 1
    assert new.id_value(ISAR0) == 1


def test_finalize() -> None:
    vcpu = vcpu_on(host(), PSCI_0_2 | SVE)
    assert (vcpu.has_sve, vcpu.is_final) == (True, False)
    for feature in (0, 3, 5):
        assert answer(vcpu.finalize(feature)) == "EINVAL"
    assert answer(vcpu.reg_list()) == answer(vcpu.enter()) == "EPERM"
    assert answer(vcpu.finalize(sve.FINALIZE)) == "ok"
    assert (vcpu.sve_finalized, vcpu.is_final) == (True, True)
    assert answer(vcpu.finalize(sve.FINALIZE)) == "EPERM"
    assert answer(vcpu_on(host()).finalize(sve.FINALIZE)) == "EINVAL"
    proposed = vcpu_on(host(), PSCI_0_2 | SVE, abi="proposal")
    assert answer(proposed.finalize(sve.FINALIZE)) == "EINVAL"
    assert (proposed.is_final, proposed.sve_finalized) == (True, False)
    fresh = Vcpu(Vm(host()), 0)
    fresh.features = SVE
    assert answer(fresh.finalize(sve.FINALIZE)) == answer(fresh.reg_list()) == answer(fresh.enter()) == "ENOEXEC"
    assert (fresh.has_sve, fresh.is_final) == (False, True)


def test_the_list_of_registers() -> None:
    vcpu = vcpu_on(host())
    found = vcpu.reg_list()
    assert answer(found) == "ok"
    assert len(found.image) == 8 * found.value
    listed = [int.from_bytes(found.image[at : at + 8], "little") for at in range(0, len(found.image), 8)]
    known = vcpu.register_ids()
    assert known == sorted(known)
    assert {ids.X0, sysreg_id(PFR0), sysreg_id(MPIDR), sysreg_id(CLIDR), CCSIDR} <= set(known) < set(listed)
    assert rid("TTBR0_EL1") not in known
    vcpu.host.registers[rid("TTBR0_EL1")] = bytes(8)
    assert rid("TTBR0_EL1") in vcpu.register_ids()


# Its PMU


@pytest.mark.parametrize("kernel", ["5.10", "6.1", "7.2"])
def test_a_pmu_with_a_gic_needs_an_interrupt(kernel: str) -> None:
    vcpu = vcpu_on(host(kernel), PSCI_0_2 | PMU_V3)
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
    vcpu = vcpu_on(host(kernel), PSCI_0_2 | PMU_V3)
    assert answer(vcpu.enter()) == name
    assert answer(vcpu.init_pmu()) == answer(vcpu.enter()) == "ok"
    none = vcpu_on(host(kernel))
    assert answer(none.init_pmu()) == answer(none.set_pmu_irq()) == "ENODEV"
    assert answer(none.enter()) == "ok"


# Runs


def test_a_run_goes_up_to_a_device() -> None:
    vcpu = vcpu_on(host())
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
    vcpu = vcpu_on(host(), PSCI_0_2 | HAS_EL2)
    assert answer(vcpu.enter()) == "EAGAIN"
    vcpu.vm.vgic, vcpu.vm.vgic_has_addresses = 2, True
    assert answer(vcpu.enter()) == "EAGAIN"
    vcpu.vm.vgic, vcpu.vm.vgic_initialized = 3, True
    assert answer(vcpu.enter()) == "ok"


def test_a_pointer_that_cannot_be_written_through() -> None:
    vcpu = vcpu_on(host())
    assert answer(vcpu.get(ids.X0, readable=False)) == "EFAULT"
    assert vcpu.get(ids.X0, readable=False).source == vcpu.get(ids.X0).source
    assert answer(vcpu.get(1, readable=False)) == "EINVAL"


def test_a_vm_and_a_vcpu_of_which_nothing_was_asked() -> None:
    vm = Vm(host())
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
    with_gic = Vm(host(), abi="proposal", has_vgic=True)
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
    vm = Vm(host())
    vm.create_vcpu(0)
    vcpu = vm.vcpus[0]
    assert vcpu.init(PSCI_0_2 | SVE).accepted
    fp, sve_row = (one for one in FEATURES if one.instruction in ("fadd", "rdvl"))

    def gives() -> list[str]:
        return [answer(outcome) for one in (fp, sve_row) if (outcome := touched(one, vcpu)) is not None]

    assert gives() == ["EPERM", "EPERM"]
    assert vcpu.finalize(sve.FINALIZE).accepted
    assert gives() == ["FP trap", "SVE trap"]
