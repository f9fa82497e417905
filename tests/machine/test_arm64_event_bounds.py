"""Words of arm64 events at their bounds: which are refused and how, and what the answers of the others are."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PMU_V3, PSCI_0_2
from inspector.machine.arm64.world.look import state_of
from inspector.machine.events import EventError
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import ISAR0, X0, sysreg_id
from tests.machine.arm64_bounds import rid
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
        ("KVM_SET_DEVICE_ATTR VGIC_ADDR", "the VM has no GIC; KVM_CREATE_DEVICE vgic-v3 comes first$"),
        ("KVM_SET_DEVICE_ATTR VGIC_CTRL_INIT", "the VM has no GIC; KVM_CREATE_DEVICE vgic-v3 comes first$"),
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
        # KVM_CAP_MSI_DEVID is a VM's.
        ("KVM_CHECK_EXTENSION MSI_DEVID", "EINVAL", None),
        ("KVM_CHECK_EXTENSION MSI_DEVID vm", "ok", 0),
        ("KVM_CHECK_EXTENSION ARM_SVE vm", "ok", 1),
        ("KVM_GET_ONE_REG x0", "ok", 0),
        ("KVM_GET_ONE_REG ID_AA64ISAR0_EL1.AES", "ok", 2),
        ("KVM_GET_ONE_REG v0", "ok", 0),
        ("KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES 0x1", "ok", None),
        ("guest ptrue p15.b", "SVE trap", None),
        ("guest ptrue p0.b", "SVE trap", None),
        ("guest index z0.b 0 1", "SVE trap", None),
    ],
)
def test_answers(event: str, name: str, value: int | None) -> None:
    world = empty()
    answers(world, *READY)
    outcome = world.happen(event).outcome
    assert (outcome.name, outcome.image) == (name, outcome.image if event.endswith("v0") else b"")
    assert value in (None, outcome.value)
    assert [check.held for check in outcome.checks if check.held is None] == []


def test_what_a_protected_vm_has() -> None:
    """kvm_pkvm_ext_allowed: no SVE, whatever other VMs of the host have."""
    world = empty("max,pkvm=on")
    answers(world, "KVM_CREATE_VM 0 protected", "KVM_CREATE_VM 0 vm=1")
    asked = [world.happen(f"KVM_CHECK_EXTENSION ARM_SVE{where}").outcome.value for where in ("", " vm", " vm vm=1")]
    assert asked == [1, 0, 1]
    nodes = state_of(world).nodes
    assert nodes[0].vm is not None
    assert (nodes[0].vm.is_protected, nodes[0].others[0].is_protected) == (True, False)


def test_only_sve_can_be_finalized() -> None:
    world = empty("max")
    answers(world, *SVE[:3])
    assert answers(world, "KVM_ARM_VCPU_FINALIZE 3", "KVM_ARM_VCPU_FINALIZE 4") == ["EINVAL", "ok"]


def test_features_beside_those_that_were_saved() -> None:
    world = empty("max", "max")
    answers(world, *READY, "KVM_GET_ONE_REG all", *(f"{one} host=1" for one in READY[:2]))
    assert answers(world, "KVM_ARM_VCPU_INIT saved PMU_V3 host=1") == ["ok"]
    vm = world.nodes[1].vm
    assert vm is not None
    assert vm.vcpus[0].features == PSCI_0_2 | PMU_V3


def test_lengths_of_the_proposal_are_told_as_a_number() -> None:
    world = empty("max", abi="proposal")
    answers(world, *SVE[:3])
    outcome = world.happen("KVM_ARM_VCPU_GET_SVE_VLS").outcome
    assert (outcome.value, outcome.image, world.saved.vqs) == (0xFFFF, b"", 0xFFFF)


def test_the_access_to_a_device_is_done_when_the_guest_runs_again() -> None:
    """kvm_handle_mmio_return skips its instruction."""
    world = empty("max")
    answers(world, *READY, "KVM_SET_USER_MEMORY_REGION 0 0 0x10000")
    found = []
    for event in ("KVM_RUN", "KVM_RUN", "guest fadd"):
        world.happen(event)
        found.append(world.happen("KVM_GET_ONE_REG pc").outcome.value)
    assert found == [0, 4, 8]


def test_a_guest_that_cannot_run_executes_nothing() -> None:
    world = empty("max")
    answers(world, *READY[:2])
    assert answers(world, "guest mrs MIDR_EL1", "guest fadd") == ["ENOEXEC", "ENOEXEC"]
    world = empty("cortex-a57")
    answers(world, *READY[:2], "KVM_ARM_VCPU_INIT EL1_32BIT")
    with pytest.raises(EventError, match="the vCPU is in AArch32, which has none of these instructions"):
        world.happen("guest fadd")


def test_what_is_left_out_of_a_save() -> None:
    """Values that no rule knows: the host's clock for one. What is listed is saved or counted."""
    world = empty("max")
    answers(world, *READY)
    listed = world.happen("KVM_GET_REG_LIST").outcome.value
    outcome = world.happen("KVM_GET_ONE_REG all").outcome
    left_out = listed - outcome.value
    assert left_out > 0
    assert [(check.text, check.held) for check in outcome.checks][-1] == (
        f"{left_out} more hold values that no rule knows: they are left out", True
    )  # fmt: skip
    assert not world.saved.registers.keys() & {rid("CNTPCT_EL0")}
    assert len(world.saved.registers) == outcome.value
    # Once they are written nothing is left out, and nothing is said of it (KVM swaps the ids of the virtual timer).
    answers(world, *(f"KVM_SET_ONE_REG {clock} 0" for clock in ("CNTVCT_EL0", "CNTV_CVAL_EL0", "CNTPCT_EL0")))
    outcome = world.happen("KVM_GET_ONE_REG all").outcome
    assert (outcome.value, [check for check in outcome.checks if "left out" in check.text]) == (listed, [])


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
    assert len(told) == outcome.code - outcome.value
    assert told[-1].startswith("KVM_SET_ONE_REG MIDR_EL1 0xf0510, the register has 0x")
    assert any(text.startswith("KVM_SET_ONE_REG ZCR_EL1 0x0: ENOENT") for text in told)
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
    isar0 = id_register("ID_AA64ISAR0_EL1").field("AES").put(world.host.limits[ISAR0], 1)
    assert found[sysreg_id(ISAR0)] == isar0.to_bytes(8, "little")
    assert len(found) == 2


def test_a_set_of_lengths_and_single_ones() -> None:
    world = empty("max")
    answers(world, *SVE[:3], "KVM_SET_ONE_REG SVE_VLS 16 0x6")
    assert world.happen("KVM_GET_ONE_REG SVE_VLS").outcome.value == 0b111
