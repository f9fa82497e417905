"""Hosts in protected mode, protected VMs, and several VMs on a host."""

from __future__ import annotations

import pytest

from inspector.export.machine_state import words_of
from inspector.machine.arm64 import pkvm
from inspector.machine.arm64.capabilities import check_extension
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from inspector.targets.arm64_world import capture_of, host_of_word
from layouts.arm64.capabilities import CAPABILITIES
from layouts.arm64.id_fields import id_register
from layouts.arm64.kernels import kernels
from layouts.arm64.pkvm import FIELDS, FIELDS_SINCE_7_3
from tests.machine.arm64_bounds import encoding
from tests.machine.arm64_worlds import answers, empty

MTE, BLOCK_SIZES, SVE, VCPUS, USER_MEMORY = 205, 229, 170, 66, 3
START = ("KVM_CREATE_VM 0 protected", "KVM_CREATE_VCPU", "KVM_SET_USER_MEMORY_REGION 0 0 0x10000")


def protected(kernel: str = "7.2", features: str = "PSCI_0_2") -> Arm64World:
    world = empty("max,pkvm=on", kernel=kernel)
    assert answers(world, *START, f"KVM_ARM_VCPU_INIT {features}")[-1] == "ok"
    return world


@pytest.mark.parametrize(
    ("kernel", "capability", "of_vm", "is_protected", "value"),
    [("6.16", MTE, True, False, 1), ("7.0", MTE, False, False, 0), ("7.2", BLOCK_SIZES, True, False, 0x4020_1000),
     ("7.3", BLOCK_SIZES, True, False, 0), ("7.2", SVE, True, False, 1), ("7.2", SVE, True, True, 0),
     ("7.2", VCPUS, True, True, 512), ("7.2", USER_MEMORY, True, True, 1)],
)  # fmt: skip
def test_capabilities_of_a_host_in_protected_mode(
    kernel: str, capability: int, *, of_vm: bool, is_protected: bool, value: int
) -> None:
    host = host_of_word(f"max,mte=on,pkvm=on@{kernel}")
    assert check_extension(host, capability, of_vm=of_vm, is_protected=is_protected) == value


def test_other_modes_answer_as_before() -> None:
    """No rule of pKVM is asked, and on an older kernel none decides anything."""
    for kernel in ("6.12", "7.2"):
        plain, mode = host_of_word(f"max,mte=on@{kernel}"), host_of_word(f"max,mte=on,pkvm=on@{kernel}")
        numbers = [one.number for one in CAPABILITIES]
        asked = ((number, *(check_extension(host, number, of_vm=True) for host in (plain, mode))) for number in numbers)
        assert [number for number, one, other in asked if one != other] == ([MTE] if kernel == "7.2" else [])
        assert plain.limits == mode.limits


@pytest.mark.parametrize(("kernel", "name"), [("6.12", "EINVAL"), ("7.0", "EINVAL"), ("7.1", "ok"), ("7.3", "ok")])
def test_the_type_of_a_protected_vm(kernel: str, name: str) -> None:
    assert answers(empty("max,pkvm=on", kernel=kernel), "KVM_CREATE_VM 0x80000000") == [name]
    assert answers(empty("max", kernel=kernel), "KVM_CREATE_VM 0 protected") == ["EINVAL"]


def test_a_host_in_protected_mode_has_neither_gicv2_nor_el2() -> None:
    assert host_of_word("max,gic=2,pkvm=on").gic == 0
    world = empty("max,pkvm=on")
    assert answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 HAS_EL2")[2] == "EINVAL"


def test_slots_of_a_protected_vm() -> None:
    world = protected()
    assert answers(world, "KVM_SET_USER_MEMORY_REGION 1 0x20000 0x10000 2") == ["EPERM"]
    assert answers(world, "KVM_SET_USER_MEMORY_REGION 0 0x30000 0x10000") == ["ok"]
    assert answers(world, "KVM_SET_USER_MEMORY_REGION 0 0 0x10000", "KVM_RUN") == ["ok", "ok"]
    assert answers(world, "KVM_SET_USER_MEMORY_REGION 0 0x30000 0x10000") == ["EPERM"]
    assert answers(world, "KVM_SET_USER_MEMORY_REGION 0 0 0", "KVM_SET_USER_MEMORY_REGION 1 0x20000 0x10000") == [
        "EPERM",
        "ok",
    ]


def shown(world: Arm64World, register: str, who: str = "guest mrs") -> int:
    outcome = world.happen(f"{who} {register}").outcome
    assert outcome.accepted
    return outcome.value


def field(register: str, name: str, value: int) -> int:
    return id_register(register).field(name).get(value)


def test_what_a_protected_guest_is_shown() -> None:
    world = protected(features="PSCI_0_2 SVE PMU_V3")
    answers(world, "KVM_ARM_VCPU_FINALIZE SVE", "KVM_SET_DEVICE_ATTR PMU_V3_INIT")
    pfr0 = shown(world, "ID_AA64PFR0_EL1")
    assert (pfr0, field("ID_AA64PFR0_EL1", "SVE", pfr0)) == (0x1101000011110111, 0)
    assert shown(world, "ID_AA64DFR0_EL1") == 0x000F00F000000000
    assert shown(world, "ID_PFR0_EL1") == shown(world, "ID_AA64ZFR0_EL1") == 0
    assert shown(world, "ID_AA64ISAR0_EL1") == shown(world, "ID_AA64ISAR0_EL1", "KVM_GET_ONE_REG")
    assert field("ID_AA64PFR0_EL1", "SVE", shown(world, "ID_AA64PFR0_EL1", "KVM_GET_ONE_REG")) == 1


def test_pointer_authentication_is_shown_to_whom_has_it() -> None:
    names = ("APA", "API", "GPA", "GPI")
    found = []
    for features in ("PSCI_0_2", "PSCI_0_2 PTRAUTH"):
        isar1 = shown(protected(features=features), "ID_AA64ISAR1_EL1")
        found.append([field("ID_AA64ISAR1_EL1", name, isar1) for name in names])
    assert not any(found[0][:2])
    assert any(found[1][:2])


@pytest.mark.parametrize(
    ("register", "name", "host", "shown"),
    [
        ("ID_AA64PFR0_EL1", "EL0", (0, 1, 2, 8), (0, 1, 1, 1)),
        # Signed: what is negative is none, and less than the most.
        ("ID_AA64PFR0_EL1", "FP", (0, 1, 2, 7, 8, 15), (0, 1, 1, 1, 8, 15)),
        ("ID_AA64MMFR0_EL1", "TGRAN4", (0, 1, 7, 8, 15), (0, 0, 0, 8, 15)),
        ("ID_AA64MMFR0_EL1", "PARANGE", (1, 2, 3, 15), (1, 2, 2, 2)),
        ("ID_AA64PFR1_EL1", "MTE_frac", (0, 1, 15), (0, 1, 15)),
        ("ID_AA64PFR0_EL1", "MPAM", (1,), (0,)),
    ],
)
def test_the_most_of_a_field(register: str, name: str, host: tuple[int, ...], shown: tuple[int, ...]) -> None:
    """get_restricted_features."""
    bits = id_register(register).field(name)
    at = encoding(register)
    on = (Host(kernels()["7.3"], {}, sanitised={at: bits.put(0, one)}) for one in host)
    assert tuple(bits.get(pkvm.mrs(Vcpu(Vm(one), 0), at)) for one in on) == shown


def test_granules_since_7_3() -> None:
    older, newer = (shown(protected(kernel), "ID_AA64MMFR0_EL1") for kernel in ("7.2", "7.3"))
    assert field("ID_AA64MMFR0_EL1", "TGRAN16", older) == 0
    assert field("ID_AA64MMFR0_EL1", "TGRAN16", newer) == 1


def test_every_field_of_the_table_is_one() -> None:
    for register, fields in (*FIELDS.items(), *FIELDS_SINCE_7_3.items()):
        assert all(id_register(register).field(one.field).width for one in fields)


def test_vms_of_a_host_are_told_apart() -> None:
    world = empty()
    assert answers(world, "KVM_CREATE_VM", "KVM_CREATE_VM", "KVM_CREATE_VCPU vm=1") == ["ok"] * 3
    assert answers(world, "KVM_ARM_VCPU_INIT PSCI_0_2 vm=1") == ["ok"]
    words = words_of(world.state())
    assert words["vm 1 vCPU 0"] == "initialized, ready"
    assert "vCPU 0" not in words
    assert [vcpu.name for vcpu in capture_of(world, "sim:new").vcpus] == ["vm 1 vCPU 0"]
    for event, why in (("KVM_RUN vm=2", "no VM 2"), ("KVM_CREATE_VM vm=1", "has the VM already"),
                       ("KVM_CREATE_VM vm=5", "the next VM")):  # fmt: skip
        with pytest.raises(EventError, match=why):
            world.happen(event)
    assert [step.outcome.name for step in (world.undo(), world.undo()) if step] == ["ok", "ok"]
    assert "vm 1 vCPU 0" not in words_of(world.state())
