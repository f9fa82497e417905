"""The arm64 world: what the guest executes, what its VM has, what no rule knows."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from inspector.targets.arm64_world import world_of
from layouts.scenario import Scenario
from tests.machine.arm64_worlds import READY, answers, empty, read


@pytest.mark.parametrize(
    ("cpacr", "zcr", "length"), [("0x330000", "0xf", 0x100), ("0x330000", "0x0", 0x10), ("0x330000", "0x2", 0x20)]
)
def test_the_vector_length_in_force(cpacr: str, zcr: str, length: int) -> None:
    """ZCR_EL1.LEN asks for vq 3, which max,sve-max-vq... lacks: the next shorter one is taken."""
    host = "max" if length != 0x20 else "neoverse-v1"
    world = empty(host)
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE", "KVM_ARM_VCPU_FINALIZE SVE")
    answers(world, f"guest msr CPACR_EL1 {cpacr}", f"guest msr ZCR_EL1 {zcr}")
    assert world.happen("guest rdvl").outcome.value == length


def test_a_guest_without_a_pmu_has_none_of_its_registers() -> None:
    world = empty()
    answers(world, *READY)
    assert answers(world, "guest mrs PMCCNTR_EL0", "guest mrs TPIDR_EL1", "guest msr TPIDR_EL1 0x5") == [
        "UNDEF",
        "ok",
        "ok",
    ]
    assert world.happen("guest mrs TPIDR_EL1").outcome.value == 5


def test_what_no_rule_knows_is_said_not_to_be_known() -> None:
    world = empty()
    answers(world, *READY)
    assert answers(world, "guest mrs DAIF", "KVM_GET_ONE_REG CNTPCT_EL0") == ["depends-on", "depends-on"]


def test_a_nested_guests_own_el2_is_not_guessed() -> None:
    world = empty("max,nested=on")
    answers(
        world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 HAS_EL2", "KVM_CREATE_DEVICE vgic-v3"
    )
    answers(world, "KVM_SET_DEVICE_ATTR VGIC_ADDR", "KVM_SET_DEVICE_ATTR VGIC_CTRL_INIT")
    assert answers(world, "guest rdvl") == ["depends-on"]


def test_a_vcpu_that_is_off_waits() -> None:
    world = empty()
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 POWER_OFF")
    answers(world, "KVM_SET_USER_MEMORY_REGION 0 0 0x1000")
    outcome = world.happen("KVM_RUN").outcome
    assert outcome.code == errno.EINTR
    assert "powered on" in outcome.because
    assert answers(world, "KVM_ARM_VCPU_INIT PSCI_0_2", "KVM_RUN") == ["ok", "ok"]


@pytest.mark.parametrize(
    ("host", "device", "name"),
    [("max", "vgic-v2", "ENODEV"), ("max,gic=2", "vgic-v2", "ok"), ("max,gic=2", "vgic-v3", "ENODEV"),
     ("max,gic=none", "vgic-v3", "ENODEV"), ("max", "its", "ok")],
)  # fmt: skip
def test_devices_by_the_hosts_gic(host: str, device: str, name: str) -> None:
    assert answers(empty(host), "KVM_CREATE_VM", f"KVM_CREATE_DEVICE {device}")[1] == name


@pytest.mark.parametrize(
    ("bits", "name"), [("31", "EINVAL"), ("32", "ok"), ("48", "ok"), ("49", "EINVAL"), ("0x80000000", "EINVAL")]
)
def test_the_bits_of_an_ipa(bits: str, name: str) -> None:
    assert answers(empty("neoverse-n1"), f"KVM_CREATE_VM {bits}") == [name]


@pytest.mark.parametrize(
    ("capability", "kernel", "name"),
    [("ARM_NISV_TO_USER", "5.10", "ok"), ("ARM_SYSTEM_SUSPEND", "5.10", "EINVAL"), ("ARM_SYSTEM_SUSPEND", "6.1", "ok"),
     ("ARM_SEA_TO_USER", "7.2", "ok"), ("ARM_EL2", "7.2", "EINVAL"), ("9999", "7.2", "EINVAL")],
)  # fmt: skip
def test_capabilities_that_a_vm_may_have(capability: str, kernel: str, name: str) -> None:
    world = world_of(Scenario("new", "", (), "", host="max", kernel=kernel, policy="merged"))
    assert answers(world, "KVM_CREATE_VM", f"KVM_ENABLE_CAP {capability}")[1] == name


def test_what_vector_instructions_leave() -> None:
    """INDEX and PTRUE at the vector length in force: a pattern that is too long makes nothing active."""
    world = empty("a64fx")
    world.play(
        [*READY[:2], "KVM_ARM_VCPU_INIT PSCI_0_2 SVE", "KVM_SET_ONE_REG SVE_VLS 16 32", "KVM_ARM_VCPU_FINALIZE SVE"]
    )
    world.play(["KVM_SET_ONE_REG CPACR_EL1 0x330000", "KVM_SET_ONE_REG ZCR_EL1 0", "guest index z5.h 0xfffe 3"])
    vcpu = world.nodes[0].vm.vcpus[0]  # type: ignore[union-attr]
    assert vcpu.sve["z5"] == b"\xfe\xff\x01\x00\x04\x00\x07\x00\x0a\x00\x0d\x00\x10\x00\x13\x00"
    for pattern, bits in (("", 0x1111), ("vl3", 0x111), ("vl5", 0), ("pow2", 0x1111), ("mul3", 0x111)):
        assert answers(world, f"guest ptrue p1.s {pattern}") == ["ok"]
        assert int.from_bytes(vcpu.sve["p1"], "little") == bits
    with pytest.raises(EventError, match="no register z32"):
        world.happen("guest index z32.b 0 1")
    with pytest.raises(EventError, match="no pattern vl"):
        world.happen("guest ptrue p1.s vl")


def with_pmu(host: str = "neoverse-v1") -> Arm64World:
    world = empty(host)
    world.play(["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_CREATE_DEVICE vgic-v3", "KVM_SET_DEVICE_ATTR VGIC_ADDR"])
    world.play(["KVM_ARM_VCPU_INIT PSCI_0_2 PMU_V3", "KVM_SET_DEVICE_ATTR VGIC_CTRL_INIT"])
    world.play(["KVM_SET_DEVICE_ATTR PMU_V3_IRQ", "KVM_SET_DEVICE_ATTR PMU_V3_INIT"])
    return world


def test_a_guest_writes_its_pmu() -> None:
    """N stays the VM's, P and C reset and read as zero, sets are set and cleared, counters that run are not guessed."""
    world = with_pmu()
    before = read(world, "PMCR_EL0")
    assert answers(world, "guest msr PMEVCNTR0_EL0 0x123", "guest msr PMCCNTR_EL0 7") == ["ok", "ok"]
    assert read(world, "PMEVCNTR0_EL0") == 0x123
    assert answers(world, "guest msr PMCR_EL0 0xffffffff06") == ["ok"]
    assert read(world, "PMCR_EL0") == before
    assert (read(world, "PMEVCNTR0_EL0"), read(world, "PMCCNTR_EL0")) == (0, 0)
    world.play(["guest msr PMCNTENCLR_EL0 0xffffffff", "guest msr PMCNTENSET_EL0 3", "guest msr PMCNTENCLR_EL0 1"])
    assert (read(world, "PMCNTENSET_EL0"), read(world, "PMCNTENCLR_EL0")) == (2, 2)
    assert answers(world, "guest msr PMEVTYPER0_EL0 0xffffffff") == ["ok"]
    assert read(world, "PMEVTYPER0_EL0") == 0xC800FFFF
    assert answers(world, "guest msr PMEVCNTR30_EL0 0") == ["UNDEF"]
    assert answers(world, "guest msr PMCR_EL0 1") == ["ok"]
    assert read(world, "PMEVCNTR0_EL0") == 0
    assert read(world, "PMEVCNTR1_EL0") == "depends on how far a counter came that runs, or ran since it was written"


def test_a_guest_writes_its_timers() -> None:
    """KVM's ids of CNTV_CVAL_EL0 and CNTVCT_EL0 are swapped; the guest's names are not. The clock is the host's."""
    world = empty()
    world.play([*READY, "guest msr CNTV_CVAL_EL0 0x55"])
    assert read(world, "CNTV_CVAL_EL0") == 0x55
    assert read(world, "CNTVCT_EL0") == "depends on the host's clock"
    assert answers(world, "guest msr CNTVCT_EL0 1", "guest msr CNTV_CTL_EL0 0xff") == ["UNDEF", "ok"]
    assert read(world, "CNTV_CTL_EL0") == "depends on the host's clock"
    assert answers(world, "guest msr CNTV_CVAL_EL0 0") == ["ok"]
    assert read(world, "CNTV_CTL_EL0") == 7
