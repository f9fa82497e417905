"""Who acts in an event of an arm64 world, and what is offered after one that did not go well."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import EL1_32BIT
from inspector.machine.arm64.world.matrix import FEATURES, feature_rows, touched
from inspector.machine.arm64.world.offers import offers
from inspector.machine.arm64.world.world import Arm64World
from tests.machine.arm64_worlds import answers, empty

VMM, KERNEL, VCPU, GUEST = "VMM", "host kernel", "vCPU", "guest kernel"
WITH_SVE = (
    "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE", "KVM_ARM_VCPU_FINALIZE SVE",
    "KVM_SET_USER_MEMORY_REGION 0 0 0x10000", "KVM_RUN",
)  # fmt: skip


def ready() -> Arm64World:
    world = empty("max")
    assert set(answers(world, *WITH_SVE)) == {"ok"}
    return world


@pytest.mark.parametrize(
    ("event", "lanes", "native"),
    [
        ("KVM_GET_ONE_REG x0", [VMM, KERNEL], False),
        ("KVM_ARM_VCPU_FINALIZE SVE", [VMM, KERNEL], False),
        ("KVM_RUN vcpu=0", [VMM, KERNEL, VCPU, GUEST, KERNEL, VMM], False),
        ("vcpu=0 KVM_RUN", [VMM, KERNEL, VCPU, GUEST, KERNEL, VMM], False),
        # ID registers are trapped to KVM (HCR_EL2.TID3), others are the vCPU's.
        ("guest mrs ID_AA64PFR0_EL1", [GUEST, VCPU, KERNEL, GUEST], False),
        ("guest vcpu=0 mrs ID_AA64PFR0_EL1", [GUEST, VCPU, KERNEL, GUEST], False),
        ("guest mrs TTBR0_EL1", [GUEST, VCPU], True),
        ("guest msr TTBR0_EL1 1", [GUEST, VCPU], True),
        ("guest msr MDSCR_EL1 0", [GUEST, VCPU, KERNEL, GUEST], False),
        ("guest mrs CNTVCT_EL0", [GUEST, VCPU], False),
        # CPACR_EL1 traps to EL1 without an exit; what the vCPU has not, KVM makes UNDEFINED.
        ("guest rdvl", [GUEST, VCPU, GUEST], True),
        ("guest msr MIDR_EL1 0", [GUEST, VCPU, GUEST], True),
        ("guest pacia", [GUEST, VCPU, KERNEL, GUEST], False),
    ],
)
def test_who_acts(event: str, lanes: list[str], native: bool) -> None:
    world = ready()
    step = world.happen(event)
    path = world.path_of(step)
    assert ([stop.lane for stop in path.stops], path.native) == (lanes, native)
    assert path.stops[0].text == event
    texts = {stop.text for stop in path.stops if stop.lane == KERNEL}
    assert not texts or step.outcome.source in texts


def test_what_is_done_on_the_way() -> None:
    world = ready()
    run = world.path_of(world.happen("KVM_RUN"))
    assert [stop.text for stop in run.stops[2:]] == [
        "VM entry", "runs until an access to a device", "VM exit", "KVM_EXIT_MMIO",
    ]  # fmt: skip
    assert [stop.text for stop in world.path_of(world.happen("guest mrs TTBR0_EL1")).stops][1:] == ["executed"]
    assert [stop.text for stop in world.path_of(world.happen("guest rdvl")).stops][1:] == ["", "SVE trap at EL1"]
    read = world.happen("guest mrs ID_AA64PFR0_EL1")
    assert [stop.text for stop in world.path_of(read).stops][1:] == ["executed", read.outcome.source, ""]
    refused = world.path_of(world.happen("KVM_SET_ONE_REG SVE_VLS 16"))
    assert [stop.lane for stop in refused.stops] == [VMM, KERNEL]
    not_entered = empty("max")
    answers(not_entered, *WITH_SVE[:2])
    assert [stop.lane for stop in not_entered.path_of(not_entered.happen("KVM_RUN")).stops] == [VMM, KERNEL]


@pytest.mark.parametrize(("host", "is_native"), [("neoverse-v1", True), ("neoverse-n1", False)])
def test_the_host_decides_what_comes_to_kvm(host: str, is_native: bool) -> None:
    """Without FEAT_S2FWB writes to the registers of a guest's memory do, until its caches are on."""
    world = empty("max", host)
    answers(world, *(f"{event} host=1" for event in (*WITH_SVE[:2], "KVM_ARM_VCPU_INIT PSCI_0_2", *WITH_SVE[4:])))
    step = world.happen("guest msr TTBR0_EL1 1 host=1")
    assert (step.outcome.name, world.path_of(step).native) == ("ok", is_native)


@pytest.mark.parametrize(
    ("host", "event", "offered"),
    [
        ("max", "KVM_GET_ONE_REG x0", []),
        ("max", "guest rdvl", [("guest msr CPACR_EL1 0x3330000", "guest rdvl")]),
        (
            "max",
            "guest pacia",
            [
                (
                    "KVM_CREATE_VM vm=1",
                    "KVM_CREATE_VCPU vm=1",
                    "KVM_ARM_VCPU_INIT PSCI_0_2 PTRAUTH_ADDRESS PTRAUTH_GENERIC vm=1",
                    "guest pacia vm=1",
                )
            ],
        ),
        # Nothing is offered that the host has not.
        ("max,sve=off,pauth=off", "guest pacia", []),
        ("max,sve=off,pauth=off", "KVM_GET_ONE_REG z0", []),
        ("max,sve=off,pauth=off", "KVM_ARM_VCPU_FINALIZE SVE", []),
    ],
)
def test_what_is_offered(host: str, event: str, offered: list[tuple[str, ...]]) -> None:
    world = empty(host)
    has_sve = "sve=off" not in host
    answers(world, *(WITH_SVE if has_sve else (*WITH_SVE[:2], "KVM_ARM_VCPU_INIT PSCI_0_2", *WITH_SVE[4:])))
    step = world.happen(event)
    assert [one.steps for one in offers(step, world.nodes[0])] == offered


def test_rows_of_features() -> None:
    """What KVM can give on the host, what the vCPU has, what its ID registers show, what its instruction gives."""
    rows = {row.feature.name: row for row in feature_rows(empty("max"))}
    assert {name for name, row in rows.items() if row.host} == {"FP, SIMD", "SVE", "PAuth", "PMU", "AArch32"}
    assert {(row.vcpu, row.shown, row.touch) for row in rows.values()} == {(None, None, None)}
    rows = {row.feature.name: row for row in feature_rows(ready())}
    assert {name for name, row in rows.items() if row.vcpu} == {"FP, SIMD", "SVE"}
    assert (rows["SVE"].shown, rows["PAuth"].shown, rows["AArch32"].shown) == (1, 0, 2)
    found = {name: row.touch.name for name, row in rows.items() if row.touch is not None}
    assert found == {"FP, SIMD": "FP trap", "SVE": "SVE trap", "SME": "SME trap", "PAuth": "UNDEF"}


def test_an_instruction_where_the_guest_cannot_run() -> None:
    sve = next(feature for feature in FEATURES if feature.name == "SVE")
    world = empty("max")
    answers(world, *WITH_SVE[:2])
    vcpu = world.vcpu()
    refused = touched(sve, vcpu)
    assert refused is not None
    assert refused.name == "ENOEXEC"
    answers(world, *WITH_SVE[2:4])
    vcpu.features |= EL1_32BIT
    assert touched(sve, vcpu) is None
