"""Words of arm64 events at their bounds: which are refused and how, and what the answers of the others are."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.world.look import state_of
from inspector.machine.events import EventError
from layouts.arm64.ids import ISAR0, X0, sysreg_id
from tests.machine.arm64_worlds import READY, answers, empty

SVE = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE", "KVM_ARM_VCPU_FINALIZE SVE")


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("", "no such event"),
        ("guest nop", "no instruction nop; there are mrs, msr, "),
        ("guest mrs x0", "x0 is no system register$"),
        ("guest index z32.b 0 1", "no register z32.b; z0.b to z31.b, and "),
        ("guest index p1.b 0 1", "no register p1.b; z0.b"),
        ("guest index z1.q 0 1", "no register z1.q"),
        ("guest index z1.b.b 0 1", "no register z1.b.b"),
        ("guest ptrue p16.b", "no register p16.b; p0.b to p15.b"),
        ("KVM_CREATE_VM vm=2", "the next VM of this host is vm=1$"),
        ("KVM_CREATE_VM vm=0", "this host has the VM already$"),
        ("KVM_ARM_VCPU_INIT target=x", "x is not a number"),
        ("KVM_ARM_VCPU_INIT bit224", "no vCPU feature bit224"),
        ("KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES 16", "16 is not a number of 4 bits$"),
        ("KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES -1", "-1 is not a number of 4 bits$"),
        ("KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES one", "one is not a number of 4 bits$"),
        ("KVM_SET_ONE_REG z1 0x55..", r"0x55\.\.: bytes in hex go before the two dots, as aa\.\.$"),
        ("KVM_SET_ONE_REG z1 5..", r"5\.\.: bytes in hex go before the two dots"),
        ("KVM_SET_ONE_REG z1 0x5x", "0x5x is not a number of 256 bytes$"),
        ("guest index z².b 0 1", "no register z².b; z0.b to z31.b, and "),
        (f"guest ptrue p{'1' * 5000}.b", "no register p1"),
        ("guest ptrue p1.b vl²", "no pattern vl²; there are "),
        ("KVM_ARM_VCPU_INIT bit²", "no vCPU feature bit²; "),
        (f"KVM_ARM_VCPU_INIT bit{'1' * 5000}", "no vCPU feature bit1"),
        ("KVM_GET_ONE_REG ID_AA64ISAR0_EL1.XYZ", r"no field ID_AA64ISAR0_EL1\.XYZ$"),
        ("KVM_GET_ONE_REG ID_AA64ISAR0_EL1.AES.X", r"no field ID_AA64ISAR0_EL1\.AES\.X$"),
    ],
)
def test_words_that_are_none(event: str, why: str) -> None:
    world = empty()
    answers(world, *READY)
    with pytest.raises(EventError, match=f": {why}"):
        world.happen(event)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("KVM_ARM_VCPU_SET_SVE_VLS saved", "no vector lengths were saved$"),
        ("KVM_SET_ONE_REG x0 saved", "x0 was not saved$"),
    ],
)
def test_what_was_not_saved(event: str, why: str) -> None:
    world = empty("max")
    answers(world, *SVE, "KVM_GET_ONE_REG all")
    world.saved.vqs = None
    del world.saved.registers[X0]
    with pytest.raises(EventError, match=f": {why}"):
        world.happen(event)


@pytest.mark.parametrize(
    ("event", "name", "value"),
    [
        ("KVM_GET_API_VERSION", "ok", 12),
        ("KVM_CREATE_VCPU 5", "ok", None),
        ("KVM_CREATE_VCPU 0", "EEXIST", None),
        ("KVM_CREATE_VM 40 0 x vm=1", "ok", None),
        ("KVM_ARM_VCPU_INIT target=5 PSCI_0_2", "ok", None),
        ("KVM_ARM_VCPU_INIT target=3 PSCI_0_2", "EINVAL", None),
        ("KVM_ARM_VCPU_FINALIZE SVE", "EINVAL", None),
        ("KVM_ARM_VCPU_FINALIZE 4", "EINVAL", None),
        ("KVM_GET_ONE_REG x0", "ok", 0),
        ("KVM_GET_ONE_REG ID_AA64ISAR0_EL1.AES", "ok", 2),
        ("KVM_GET_ONE_REG v0", "ok", 0),
        ("KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES 0x1", "ok", None),
        ("guest ptrue p15.b", "SVE trap", None),
    ],
)
def test_answers(event: str, name: str, value: int | None) -> None:
    world = empty()
    answers(world, *READY)
    outcome = world.happen(event).outcome
    assert (outcome.name, outcome.image) == (name, outcome.image if event.endswith("v0") else b"")
    assert value in (None, outcome.value)
    assert [check.held for check in outcome.checks if check.held is None] == []


def test_a_value_is_told_once() -> None:
    """A register of 8 bytes or less as a number, a longer one as bytes; of a list how many there are."""
    world = empty("max")
    answers(world, *SVE, "KVM_SET_ONE_REG x0 0x1234", "KVM_SET_ONE_REG z1 55..")
    found = [world.happen(f"KVM_GET_ONE_REG {one}").outcome for one in ("x0", "z1", "SVE_VLS")]
    assert [(one.value, one.image) for one in found] == [(0x1234, b""), (0, b"\x55" * 256), (0xFFFF, b"")]
    assert world.saved.vqs == 0xFFFF
    listed = world.happen("KVM_GET_REG_LIST").outcome
    assert listed.value > 200
    assert listed.image == b""


def test_registers_that_are_refused_are_told_one_by_one() -> None:
    """The last of the checks is the first refusal; long values as bytes."""
    world = empty("max", "neoverse-n1")
    answers(world, *SVE, "KVM_SET_ONE_REG z0 11..", "KVM_GET_ONE_REG all", *(f"{one} host=1" for one in READY))
    outcome = world.happen("KVM_SET_ONE_REG saved host=1").outcome
    told = [check.text for check in outcome.checks if check.held is False]
    assert len(told) == len(set(told)) > 40
    assert told[-1].startswith("KVM_SET_ONE_REG MIDR_EL1 0xf0510, the register has 0x")
    assert any("KVM_SET_ONE_REG z0 256 bytes: ENOENT" in text for text in told)
    assert any("KVM_SET_ONE_REG ID_AA64ISAR0_EL1 0x" in text and ", the register has 0x" in text for text in told)
    assert not any("256 bytes, the register" in text or "XX" in text for text in told)


def test_every_vm_of_a_host_is_seen() -> None:
    world = empty("max", "neoverse-n1")
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VM 0 vm=1", "KVM_CREATE_VM vm=2")
    node = state_of(world).nodes[0]
    assert (len(node.others), node.vm is not None) == (2, True)


def test_registers_before_and_after_they_are_there() -> None:
    world = empty("max")
    answers(world, *SVE[:3], "KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES 1")
    answers(world, "KVM_ARM_VCPU_FINALIZE SVE", "KVM_SET_ONE_REG z0 11..")
    vm = state_of(world).nodes[0].vm
    assert vm is not None
    found = dict(vm.vcpus[0].registers)
    assert int.from_bytes(found[sysreg_id(ISAR0)], "little") >> 4 & 15 == 1
    assert len(found) == 2


def test_a_set_of_lengths_and_single_ones() -> None:
    world = empty("max")
    answers(world, *SVE[:3], "KVM_SET_ONE_REG SVE_VLS 16 0x6")
    assert world.happen("KVM_GET_ONE_REG SVE_VLS").outcome.value == 0b111
