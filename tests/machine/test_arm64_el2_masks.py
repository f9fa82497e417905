"""RES0 and RES1 bits of a guest's EL2: which there are by kernel, and from which call on they hold."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.el2_masks import holds, masks
from inspector.machine.arm64.host import HAS_EL2, HAS_EL2_E2H0, PSCI_0_2
from inspector.machine.arm64.world.world import Arm64World
from inspector.targets.arm64_world import host_of_word
from layouts.arm64.el2_masks import el2_registers
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import encoding_of_op
from layouts.arm64.kernels import kernels
from layouts.arm64.sysregs import encodings
from tests.machine.arm64_worlds import answers, empty

#: By kernel, without and with E2H0: what get_reg_fixed_bits of config.c gives (res0, res1), compiled as it is and
#: called with the ID registers of a guest of the CPU max.
COMPUTED = {
    ("6.16", 0): {"HCR_EL2": (0xFF2983B020008000, 0x480000000), "HFGRTR_EL2": (0xF9FFFF00C00001F0, 0)},
    ("6.16", 1): {"HCR_EL2": (0xFF29BFB420008000, 0x80000000), "HFGRTR_EL2": (0xF9FFFF00C00001F0, 0)},
    ("6.19", 0): {
        "HCR_EL2": (0xFF29038020008000, 0x480000000),
        "SCTLR_EL1": (0x7DFFEFE1F8522DA0, 0),
        "MDCR_EL2": (0xFFFFFFFFF7FFF0FF, 0),
        "HFGRTR_EL2": (0xF9FC0000C00001F0, 0),
    },
    ("7.0", 0): {
        "HCR_EL2": (0xFF2903C020008000, 0x480000000),
        "SCTLR_EL2": (0x7DFFEFE1C8022620, 0x30500980),
        "VTCR_EL2": (0xFFFFFFFF61D00000, 0x80000000),
        "TCR2_EL2": (0xFFFFFFFFFFFFFFFD, 0),
    },
    ("7.3", 1): {
        "HCR_EL2": (0xFF293FC420008000, 0x80000000),
        "SCTLR_EL1": (0x7DFFEFE1C8022420, 0x30500980),
        "SCTLR_EL2": (0xFFFFEFEBCD12E790, 0x30C50820),
        "MDCR_EL2": (0xFFFFFFFFF7FFF0FF, 0),
    },
}
ALL_ONES = "0xffffffffffffffff"


def encoding(name: str) -> int:
    return encoding_of_op(encodings()[name])


@pytest.mark.parametrize("kernel", COMPUTED)
def test_masks_are_what_the_kernels_own_code_computes(kernel: tuple[str, int]) -> None:
    release, is_e2h0 = kernel
    features = PSCI_0_2 | HAS_EL2 | (HAS_EL2_E2H0 if is_e2h0 else 0)
    found = masks(release, host_of_word(f"max,nested=on@{release}").reset_values(features))
    assert {name: tuple(found[encoding(name)]) for name in COMPUTED[kernel]} == COMPUTED[kernel]


def test_every_condition_of_every_kernel_can_be_asked() -> None:
    for release in kernels():
        found = masks(release, {})
        assert all(not mask.res0 & mask.res1 for mask in found.values())
        for register, row in el2_registers(release).items():
            assert found[register].res0 & row.res0 == row.res0
            assert not row.needs or found[register].res0 & row.whole == row.whole
        assert bool(found) is bool(kernels()[release].nested)


APA, GPA, API, GPI, APA3, GPA3 = "ISAR1.APA", "ISAR1.GPA", "ISAR1.API", "ISAR1.GPI", "ISAR2.APA3", "ISAR2.GPA3"


@pytest.mark.parametrize(
    ("condition", "fields", "held"),
    [
        ("never", {}, False),
        # kvm_has_pauth: one algorithm, with its generic part.
        ("pauth>=1", {}, False),
        ("pauth>=1", {APA: 1}, False),
        ("pauth>=1", {GPA: 1}, False),
        ("pauth>=1", {APA: 1, GPI: 1}, False),
        ("pauth>=1", {APA: 1, GPA: 1}, True),
        ("pauth>=1", {API: 2, GPI: 1}, True),
        ("pauth>=1", {APA3: 1, GPA3: 1}, True),
        ("pauth>=1", {APA: 1, GPA: 1, API: 1, GPI: 1}, False),
        ("pauth>=1", {APA: 1, GPA: 1, API: 1}, True),
        ("pauth>=6", {APA: 5, GPA: 1}, False),
        ("pauth>=6", {APA: 6, GPA: 1}, True),
        # A field whose top bit is a sign: 15 is -1.
        ("signed ID_AA64DFR0_EL1.DoubleLock>=0", {"DFR0.DoubleLock": 15}, False),
        ("signed ID_AA64DFR0_EL1.DoubleLock>=0", {"DFR0.DoubleLock": 8}, False),
        ("signed ID_AA64DFR0_EL1.DoubleLock>=0", {"DFR0.DoubleLock": 7}, True),
        ("signed ID_AA64DFR0_EL1.DoubleLock>=0", {}, True),
        ("ID_AA64DFR0_EL1.DoubleLock>=0", {"DFR0.DoubleLock": 15}, True),
        ("signed ID_AA64MMFR4_EL1.E2H0<0", {"MMFR4.E2H0": 15}, True),
        ("signed ID_AA64MMFR4_EL1.E2H0<0", {"MMFR4.E2H0": 0}, False),
        ("ID_AA64PFR0_EL1.EL3<1", {}, True),
        ("ID_AA64PFR0_EL1.EL3<1", {"PFR0.EL3": 2}, False),
        ("ID_AA64MMFR0_EL1.TGRAN4_2!=0", {"MMFR0.TGRAN4_2": 1}, True),
        ("ID_AA64MMFR0_EL1.TGRAN4_2!=0", {}, False),
        ("ID_AA64MMFR1_EL1.VMIDBits=2", {"MMFR1.VMIDBits": 2}, True),
        ("ID_AA64MMFR1_EL1.VMIDBits=2", {"MMFR1.VMIDBits": 3}, False),
    ],
)
def test_what_a_condition_asks(condition: str, fields: dict[str, int], held: bool) -> None:
    assert holds(condition, values(fields)) is held


def values(fields: dict[str, int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for name, value in fields.items():
        register, field = name.split(".")
        bits = id_register(f"ID_AA64{register}_EL1").field(field)
        at = encoding(f"ID_AA64{register}_EL1")
        found[at] = bits.put(found.get(at, 0), value)
    return found


@pytest.mark.parametrize(("e2h0", "has_it"), [(0, True), (7, True), (8, False), (15, False)])
def test_a_negative_e2h0_is_none(e2h0: int, has_it: bool) -> None:
    """HCR_EL2.E2H is RES1 then (FEAT_E2H0)."""
    found = masks("7.2", values({"MMFR4.E2H0": e2h0, "PFR0.EL2": 1, "MMFR1.VH": 1}))[encoding("HCR_EL2")]
    assert bool(found.res1 & 1 << 34) is not has_it


def test_registers_come_with_releases() -> None:
    first = {name: next(k for k in kernels() if encoding(name) in el2_registers(k)) for name in encodings()
             if any(encoding(name) in el2_registers(k) for k in kernels())}  # fmt: skip
    assert first["HCR_EL2"] == "6.16"
    assert first["SCTLR2_EL1"] == "6.17"
    assert first["SCTLR_EL2"] == "7.0"
    assert first["ZCR_EL2"] == "7.1"


def _nested() -> Arm64World:
    world = empty("max,nested=on")
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 HAS_EL2")
    answers(world, "KVM_ARM_VCPU_INIT PSCI_0_2 HAS_EL2 vcpu=1", f"KVM_SET_ONE_REG HCR_EL2 {ALL_ONES}")
    return world


def value(world: Arm64World, register: str) -> int:
    outcome = world.happen(f"KVM_GET_ONE_REG {register}").outcome
    assert outcome.accepted
    return outcome.value


def test_any_bit_is_kept_until_the_first_run_and_then_not() -> None:
    world = _nested()
    assert value(world, "HCR_EL2") == int(ALL_ONES, 0)
    assert answers(world, "KVM_RUN") == ["EAGAIN"]
    masked = value(world, "HCR_EL2")
    assert masked == ~0xFF2903C020008000 & int(ALL_ONES, 0)
    # The VM's, so another vCPU's too; but what that one wrote before is stored until it runs.
    assert answers(world, f"KVM_SET_ONE_REG HCR_EL2 {ALL_ONES} vcpu=1") == ["ok"]
    assert value(world, "HCR_EL2 vcpu=1") == masked
    assert answers(world, "KVM_SET_ONE_REG VMPIDR_EL2 0x7f000000") == ["ok"]
    assert value(world, "VMPIDR_EL2") == 0x80000000
    world.undo()
    world.undo()
    assert value(world, "HCR_EL2 vcpu=1") == masked


def test_masks_are_made_once_of_the_id_registers_as_they_are_then() -> None:
    world = _nested()
    mscen = 1 << 11
    assert answers(world, "KVM_RUN", "KVM_SET_ONE_REG ID_AA64ISAR2_EL1.MOPS 0") == ["EAGAIN", "ok"]
    assert answers(world, f"KVM_SET_ONE_REG HCRX_EL2 {ALL_ONES}") == ["ok"]
    assert value(world, "HCRX_EL2") & mscen
    other = _nested()
    assert answers(other, "KVM_SET_ONE_REG ID_AA64ISAR2_EL1.MOPS 0", "KVM_RUN") == ["ok", "EAGAIN"]
    assert answers(other, f"KVM_SET_ONE_REG HCRX_EL2 {ALL_ONES}") == ["ok"]
    assert not value(other, "HCRX_EL2") & mscen


def test_a_vm_without_el2_has_no_masks() -> None:
    world = empty("max,nested=on")
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2", "KVM_RUN")
    assert answers(world, f"KVM_SET_ONE_REG SCTLR_EL1 {ALL_ONES}") == ["ok"]
    assert value(world, "SCTLR_EL1") == int(ALL_ONES, 0)


def test_no_guest_has_el2_before_6_16() -> None:
    world = empty("max,nested=on", kernel="6.12")
    assert answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 HAS_EL2")[2] == "ENOENT"
