"""The arm64 world: events in words, undo, two hosts, SVE's two interfaces, what the guest executes."""

from __future__ import annotations

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
from inspector.machine.events import EventError
from inspector.targets.arm64_world import world_of
from inspector.targets.labs import Arm64Lab
from inspector.targets.place import elsewhere, place_of
from inspector.targets.schemes import capture_of, host_of, lab_of
from inspector.tui.arm64_lab_session import Arm64LabSession
from inspector.tui.labs import session_of_vcpu
from layouts.arm64.ids import V
from layouts.arm64.scenarios import SCENARIOS, scenarios
from layouts.scenario import Scenario
from tests.machine.arm64_worlds import READY, answers, empty, played

SAMPLE = "sample:arm64-kvm/max-linux-7.2.13.regs"


#: What each scenario is there to show: the event by number, and what is said.
SHOWN = {
    "arm64-life-cycle": [(6, "ENOEXEC"), (13, "EPERM"), (17, "EPERM"), (19, "EINVAL"), (27, "ok")],
    "arm64-sve-lengths": [(6, "EINVAL"), (8, "EINVAL"), (10, "ok"), (15, "ok")],
    "arm64-sve-migration": [(12, "EINVAL")],
    "arm64-sve-cluster": [(13, "ok"), (15, "ok")],
    "arm64-sme-next": [
        (4, "depends-on"),
        (6, "ok"),
        (7, "depends-on"),
        (10, "SME trap"),
        (12, "depends-on"),
        (16, "EBUSY"),
    ],
    "arm64-el2-masks": [(5, "ok"), (7, "EAGAIN"), (15, "ok"), (19, "ok")],
    "arm64-pkvm": [
        (2, "ok"),
        (4, "EINVAL"),
        (6, "ok"),
        (10, "EPERM"),
        (18, "ok"),
        (21, "UNDEF"),
        (22, "EPERM"),
        (24, "EINVAL"),
    ],
    "arm64-two-vms": [(3, "ok"), (12, "EBUSY"), (13, "ok"), (14, "ok")],
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
    back = played("arm64-graviton3-to-grace").steps[-1].outcome
    assert back.verdict == "depends-on"
    assert "grace's ID_AA64PFR0_EL1.CSV3 and 6 fields more, which nobody read: ok if it is as is likely" in back.because


def test_put_registers_after_init_names_the_register() -> None:
    """The invariant registers of 6.12; with 7.2 a capability is what is missing."""
    assert "MIDR_EL1" in played("arm64-put-registers").steps[-1].outcome.because
    newer = played("arm64-put-registers", kernel="7.2").steps[-1].outcome
    assert "WRITABLE_IMP_ID_REGS" in newer.because


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenarios_have_a_source_and_a_refusal(scenario: Scenario) -> None:
    assert scenario.source
    assert not all(step.outcome.accepted for step in played(scenario.name).steps)


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
        "KVM_CREATE_VM vm=2",
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


def test_answers_of_zero_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    events = ("KVM_CHECK_EXTENSION ARM_MTE", *READY, "KVM_GET_ONE_REG x0")
    assert sim.run(["new", "--host", "neoverse-v1", *(word for event in events for word in ("--event", event))]) == 0
    out = capsys.readouterr().out
    assert re.search(r"KVM_CHECK_EXTENSION ARM_MTE +ok, 0x0$", out, re.M)
    assert re.search(r"KVM_GET_ONE_REG x0 +ok, 0x0$", out, re.M)


def test_a_captured_vcpu_is_played() -> None:
    """From the Inspect screen: the events that restore it, on the host that it shows; x86 goes to its lab."""
    capture = capture_of(SAMPLE)
    session = session_of_vcpu(capture, capture.vcpus[0], plays=True)
    assert isinstance(session, Arm64LabSession)
    session.world.play(session.scenario.events)
    assert session.world.steps[-1].outcome.accepted
    fingerprint = capture_of("sample:graviton3/linux-6.18")
    assert isinstance(session_of_vcpu(fingerprint, fingerprint.vcpus[0], plays=True), Arm64LabSession)


def test_a_host_that_is_known_in_part_says_what_an_answer_hangs_on() -> None:
    world = empty("grace")
    assert answers(world, *READY[:2], "KVM_ARM_VCPU_INIT PSCI_0_2 PMU_V3")[-1] == "depends-on"
    known, unknown = "KVM_SET_ONE_REG ID_AA64ISAR0_EL1.RNDR 0", "KVM_SET_ONE_REG ID_AA64ISAR1_EL1.XS 1"
    assert answers(world, known, unknown) == ["ok", "depends-on"]
    assert world.steps[-1].outcome.because.endswith("XS, which nobody read: EINVAL if it is as is likely")
    assert world.state().nodes[0].vm.vcpus[0].initialized  # type: ignore[union-attr]
