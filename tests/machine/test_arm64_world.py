"""The arm64 world: events in words, undo, two hosts, SVE's two interfaces, what the guest executes."""

from __future__ import annotations

import errno
import json
import re
import shlex
from pathlib import Path

import pytest

from inspector.capture.errors import UsageError
from inspector.cli import set as set_command
from inspector.cli import sim
from inspector.export.machine_state import changes_of, words_of
from inspector.export.worlds import short_answer
from inspector.machine.against import happened
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from inspector.targets.arm64_world import world_of
from inspector.targets.labs import Arm64Lab
from inspector.targets.place import elsewhere, place_of
from inspector.targets.schemes import capture_of, host_of, lab_of
from layouts.arm64.ids import V
from layouts.arm64.scenarios import SCENARIOS, scenarios
from layouts.scenario import Scenario

SAMPLE = "sample:arm64-kvm/max-linux-7.2.13.regs"


def played(name: str, **changed: object) -> Arm64World:
    """A scenario at its end, on other hosts or with another interface where they are named."""
    scenario = scenarios()[name]._replace(**changed)  # type: ignore[arg-type]
    world = world_of(scenario)
    world.play(scenario.events)
    return world


def empty(*hosts: str, abi: str = "merged") -> Arm64World:
    first, *others = hosts or ("neoverse-v1",)
    return world_of(Scenario("new", "", (), "", host=first, policy=abi, destinations=tuple(others)))


def answers(world: Arm64World, *events: str) -> list[str]:
    return [world.happen(event).outcome.name for event in events]


READY = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2")


#: What each scenario is there to show: the event by number, and what is said.
SHOWN = {
    "arm64-life-cycle": [(6, "ENOEXEC"), (13, "EPERM"), (17, "EPERM"), (19, "EINVAL"), (27, "ok")],
    "arm64-sve-lengths": [(6, "EINVAL"), (8, "EINVAL"), (10, "ok"), (15, "ok")],
    "arm64-sve-migration": [(12, "EINVAL")],
    "arm64-sve-cluster": [(13, "ok"), (15, "ok")],
    "arm64-sve-vregs": [(6, "EPERM"), (7, "EINVAL")],
    "arm64-guest-sve": [(5, "FP trap"), (6, "SVE trap"), (9, "UNDEF"), (11, "UNDEF"), (20, "SVE trap"), (22, "ok")],
    "arm64-writable-ids": [
        (6, "ok"),
        (7, "EINVAL"),
        (9, "EINVAL"),
        (13, "EBUSY"),
        (14, "ok"),
        (21, "ok"),
        (23, "EBUSY"),
    ],
    "arm64-mte": [(4, "ok"), (6, "EINVAL"), (13, "EINVAL"), (16, "ENOENT")],
    "arm64-nested": [(5, "EINVAL"), (11, "EAGAIN"), (15, "ok"), (19, "EINVAL")],
    "arm64-aarch32": [(7, "EINVAL"), (11, "EINVAL"), (16, "EINVAL")],
    "arm64-pmu-and-gic": [(7, "EINVAL"), (8, "ENODEV"), (10, "ENODEV"), (14, "EBUSY"), (16, "ok"), (17, "EBUSY")],
    "arm64-gic-too-late": [(9, "EBUSY"), (10, "EIO")],
    "arm64-memory": [(6, "EINVAL"), (8, "EEXIST"), (9, "EFAULT"), (12, "EINTR"), (14, "ok")],
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_scenarios_show(name: str) -> None:
    steps = played(name).steps
    assert [(number, steps[number - 1].outcome.name) for number, _ in SHOWN[name]] == SHOWN[name]


def test_document_003_grace_to_graviton3_is_refused_by_one_field_and_the_way_back_is_not() -> None:
    there = played("arm64-grace-to-graviton3").steps[-1].outcome
    assert re.fullmatch(r"\d+ of \d+", there.name)
    assert there.code - there.value == 1
    assert "ID_DFR0_EL1 0x0" in there.because
    assert "EINVAL; this does not hold: CopDbg is at least 6" in there.because
    assert played("arm64-graviton3-to-grace").steps[-1].outcome.accepted


def test_put_registers_after_init_names_the_register() -> None:
    """The invariant registers of 6.12; with 7.2 a capability is what is missing."""
    assert "MIDR_EL1" in played("arm64-put-registers").steps[-1].outcome.because
    newer = played("arm64-put-registers", kernel="7.2").steps[-1].outcome
    assert "WRITABLE_IMP_ID_REGS" in newer.because


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenarios_have_a_source_and_a_refusal(scenario: Scenario) -> None:
    assert scenario.source
    accepted = all(step.outcome.accepted for step in played(scenario.name).steps)
    assert accepted == (scenario.name == "arm64-graviton3-to-grace")


def test_undo_makes_the_same_state_again() -> None:
    scenario = scenarios()["arm64-writable-ids"]
    world = world_of(scenario)
    states = [world.state()]
    for event in scenario.events:
        world.happen(event)
        states.append(world.state())
    for expected in reversed(states[:-1]):
        assert world.undo() is not None
        assert world.state() == expected
    assert world.undo() is None


def test_a_refused_event_leaves_the_state_as_it_was() -> None:
    """But for the ID registers, which the first run makes final before it asks for the PMU (kvm_finalize_sys_regs)."""
    for scenario in SCENARIOS:
        world = world_of(scenario)
        for event in scenario.events:
            step = world.happen(event)
            if step.outcome.verdict in ("errno", "exception") and "RUN" not in event and "guest" not in event:
                assert not changes_of(step), (scenario.name, event)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("KVM_FLY", "no such event"),
        ("KVM_CREATE_VCPU", "there is no VM"),
        ("KVM_CREATE_VM host=1", "there is no host 1"),
        ("KVM_ARM_VCPU_INIT SME", "no vCPU feature SME"),
        ("KVM_CREATE_DEVICE gicv9", "no device"),
    ],
)
def test_words_that_are_no_event(event: str, why: str) -> None:
    world = empty()
    if event.startswith(("KVM_ARM", "KVM_CREATE_DEVICE")):
        answers(world, *READY)
    before = world.state()
    with pytest.raises(EventError, match=why):
        world.happen(event)
    assert world.state() == before


@pytest.mark.parametrize(
    "text",
    [
        "KVM_SET_ONE_REG x0",
        "KVM_SET_ONE_REG x0 nine",
        "KVM_SET_ONE_REG ID_AA64PFR0_EL1.NOPE 1",
        "KVM_SET_ONE_REG ID_AA64PFR0_EL1.SVE 99",
        "KVM_GET_ONE_REG q9",
        "KVM_SET_ONE_REG x0 0x10000000000000000",
        "KVM_SET_ONE_REG saved",
        "KVM_SET_ONE_REG captured",
        "KVM_SET_ONE_REG model:nope",
        "KVM_SET_ONE_REG SVE_VLS 17",
        "KVM_SET_ONE_REG z0 ..",
        "KVM_SET_DEVICE_ATTR VGIC_ADDR",
        "KVM_ARM_VCPU_INIT bit999",
        "KVM_CREATE_VM",
        "KVM_GET_ONE_REG x0 vcpu=7",
        "guest jump",
        "guest mrs x0",
    ],
)
def test_words_that_say_too_little_or_too_much(text: str) -> None:
    world = empty()
    answers(world, *READY)
    with pytest.raises(EventError):
        world.happen(text)


# The proposal


def test_the_proposals_four_differences() -> None:
    """Document 002: coprocessor 0x14, V and Z in step, ZCR_EL1 visible, two ioctls and no finalization."""
    scenario = scenarios()["arm64-sve-abi"]
    one = world_of(scenario)
    _, other = elsewhere(one, scenario, place_of("proposal"))
    both = zip(happened(one, scenario.events), happened(other, scenario.events), strict=True)
    names = {mine.event: (short_answer(mine), short_answer(theirs)) for mine, theirs in both}
    assert names["KVM_GET_ONE_REG ZCR_EL1"] == ("ENOENT", "ok")
    assert names["KVM_SET_ONE_REG 0x60800000001500a0 aa.. host=1"] == ("ok", "ENOENT")
    assert names["KVM_SET_ONE_REG 0x60800000001400a0 aa.. host=1"] == ("ENOENT", "ok")
    assert names["KVM_ARM_VCPU_SET_SVE_VLS 16 32 host=1"] == ("EINVAL", "ok")
    assert names["KVM_ARM_VCPU_SET_SVE_VLS 16 host=1"] == ("EINVAL", "EBUSY")
    assert names["KVM_GET_ONE_REG SVE_VLS host=1"] == ("ok", "ENOENT")
    assert names["KVM_ARM_VCPU_FINALIZE SVE host=1"] == ("ok", "EINVAL")


def test_v_and_z_are_in_step_under_the_proposal() -> None:
    world = empty(abi="proposal")
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE")
    vcpu = world.vcpu()
    assert answers(world, "KVM_SET_ONE_REG z5 aa..", "KVM_SET_ONE_REG v5 bb..") == ["ok", "ok"]
    assert vcpu.sve["z5"] == b"\xbb" * 16 + b"\xaa" * 16, "the real 32 bytes of this host"
    assert answers(world, "KVM_SET_ONE_REG z5 cc..") == ["ok"]
    assert vcpu.values[V.id(5)] == b"\xcc" * 16


def test_the_proposal_migrates_with_its_metadata() -> None:
    world = empty("neoverse-v1", "neoverse-v1", abi="proposal")
    events = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE", "KVM_SET_ONE_REG z5 aa..")
    assert set(answers(world, *events, "KVM_ARM_VCPU_GET_SVE_VLS", "KVM_GET_ONE_REG all")) == {"ok"}
    there = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT saved", "KVM_ARM_VCPU_SET_SVE_VLS saved")
    assert set(answers(world, *(f"{event} host=1" for event in (*there, "KVM_SET_ONE_REG saved")))) == {"ok"}
    nodes = world.state().nodes
    assert nodes[0].vm is not None
    assert nodes[1].vm is not None
    assert dict(nodes[1].vm.vcpus[0].registers) == dict(nodes[0].vm.vcpus[0].registers)


# The guest


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


# Words that open it, commands


def test_sim_words_are_captures_hosts_and_labs() -> None:
    capture = capture_of("sim:arm64-sve-cluster")
    assert [vcpu.name for vcpu in capture.vcpus] == ["host 0 vCPU 0", "host 1 vCPU 0"]
    assert {vcpu.arch for vcpu in capture.vcpus} == {"arm64"}
    assert host_of("sim:arm64-sve-cluster", "arm64").name == "a64fx"
    assert isinstance(lab_of("sim:arm64-mte"), Arm64Lab)


def test_list_has_both_architectures_as_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.run(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], {one["architecture"] for one in found["scenarios"]}) == ("scenarios", {"x86", "arm64"})
    assert sim.run(["list"]) == 0
    assert "arm64-mte" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["arm64-mte", "--policy", "rfc"], "--policy rfc: arm64-mte is of arm64"),
        (["guest-xfd", "--abi", "merged"], "--abi merged: guest-xfd is of x86"),
        (["guest-xfd", "--to", "max"], "--to max"),
        (["arm64-mte", "--why", "18"], "--why"),
        (["arm64-mte", "--against", "nothing"], "nothing: expected host=CPU kernel=RELEASE policy=NAME"),
        (["arm64-mte", "--save", "x.xsave"], ".vcpu"),
        (["restore", "--from", SAMPLE, "--abi", "proposal"], "--abi proposal"),
        (["restore", "--from", "sample:arm64-process", "--to", "max"], "--to max"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], why: str) -> None:
    with pytest.raises(UsageError) as told:
        sim.run(words)
    assert why in str(told.value)


def test_a_kernel_beside_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.run(["arm64-writable-ids", "--against", "6.12", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "worlds"
    assert sum(row["differs"] == "answer" for row in found["events"]) > 2
    assert sim.run(["guest-xfd", "--against", "upstream"]) == 0
    assert "No difference" in capsys.readouterr().out


def test_a_capture_is_restored(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.run(["restore", "--from", SAMPLE]) == 0
    assert "KVM_SET_ONE_REG captured                 ok" in capsys.readouterr().out
    assert sim.run(["restore", "--from", SAMPLE, "--host", "neoverse-v1"]) == 1
    assert "the register has" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edit", "code", "told"),
    [
        ("core.x[0]=5", 0, "359 registers"),
        ("id.ID_AA64PFR0_EL1.EL1=0", 1, "EL1 is not 0"),
        ("id.ID_AA64ISAR0_EL1.RNDR=15", 1, "RNDR is at most"),
    ],
)
def test_an_edited_capture_is_restored_on_the_host_that_it_showed_before(
    edit: str, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_command.run([SAMPLE, edit]) == code
    out = capsys.readouterr().out
    assert told in out or (code == 0 and "Restore" in out)


def test_several_hosts_are_told_apart_in_words() -> None:
    words = words_of(played("arm64-sve-cluster").state())
    assert words["host 0 vCPU 0 vector lengths"] == "16, 32 bytes"
    assert words["host 1 VM"].startswith("IPA of 40 bits")
    assert words["saved vector lengths"] == "16, 32 bytes"


PAGE = Path(__file__).parents[2] / "docs/arm64-machine.md"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("inspector ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page_answer_as_it_says(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, _, comment = command.partition("  # ")
    name, *rest = shlex.split(words)[1:]
    assert {"sim": sim.run, "set": set_command.run}[name](rest) == int(comment.strip() == "exit code 1")
    assert capsys.readouterr().out
