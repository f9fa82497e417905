"""What a VMM asks of a VM and its GIC: each check, its bounds, its errno, what it leaves.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_init_vm, kvm_vm_ioctl_enable_cap, kvm_arch_vcpu_precreate,
kvm_arch_vcpu_run_pid_change), vgic/vgic-init.c; virt/kvm/kvm_main.c (kvm_vm_ioctl_create_vcpu).
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import vgic
from inspector.machine.arm64.host import MTE, PSCI_0_2
from inspector.machine.arm64.vm import CAP_MTE, CAP_WRITABLE_IMP_ID_REGS, Vm
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import PFR0, PFR1_AARCH32
from tests.machine.arm64_bounds import answer, full_host, vcpu_on

U64 = (1 << 64) - 1


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
    vm = Vm(full_host(kernel, mte=mte))
    assert answer(vm.enable_cap(capability)) == name
    took = name == "ok"
    assert (vm.mte, vm.writable_imp) == (
        MTE if took and capability == CAP_MTE else 0,
        took and capability == CAP_WRITABLE_IMP_ID_REGS,
    )
    late = Vm(full_host(kernel, mte=mte))
    assert late.create_vcpu(0).accepted
    passed_on = capability not in (CAP_MTE, CAP_WRITABLE_IMP_ID_REGS)
    assert answer(late.enable_cap(capability)) == (name if passed_on else "EINVAL")


@pytest.mark.parametrize(("gic", "made", "most"), [(3, 0, 512), (2, 0, 8), (0, 0, 512), (3, 3, 512), (2, 2, 8)])
def test_numbers_of_vcpus(gic: int, made: int, most: int) -> None:
    vm = Vm(full_host(gic=gic))
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
    vm = Vm(full_host(kernel, gic=2))
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
        vm = Vm(full_host(release))
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
    vm = Vm(full_host(kernel))
    assert answer(vm.writable_masks(range_number=range_number, reserved=reserved, readable=readable)) == name
    assert vm.writable_masks().accepted is (kernel == "7.2")


# Its GIC


def test_which_gic_a_host_has() -> None:
    for version, devices in ((3, (7, 8)), (2, (5,)), (0, ())):
        for device in range(12):
            name = answer(vgic.create(Vm(full_host(gic=version)), device))
            assert name == ("ok" if device in devices else "ENODEV")
    vm = Vm(full_host())
    assert answer(vgic.create(vm, 8)) == "ok"
    assert (vm.vgic, vm.has_vgic) == (0, False)
    assert answer(vgic.create(vm, 7)) == "ok"
    assert (vm.vgic, vm.has_vgic) == (3, True)
    assert answer(vgic.create(vm, 7)) == "EEXIST"
    old = Vm(full_host(gic=2))
    assert answer(vgic.create(old, 5)) == "ok"
    assert (old.vgic, old.has_vgic) == (2, False)


def test_a_gic_comes_before_the_first_run() -> None:
    vm = Vm(full_host("7.2"))
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
    vcpu = vcpu_on(full_host(kernel))
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
    vcpu = vcpu_on(full_host(kernel, limits, gic=gic))
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
    vcpu = vcpu_on(full_host("7.2"))
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
