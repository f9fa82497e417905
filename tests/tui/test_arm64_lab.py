"""The lab of an arm64 world: its session without a screen, and its screen."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from inspector.cli import sim
from inspector.cli.main import main
from inspector.cli.open import app_of
from inspector.machine.arm64.world.offers import offers
from inspector.machine.arm64.world.world import Arm64World
from inspector.targets.schemes import capture_of, lab_of
from inspector.tui.arm64_lab_session import Arm64LabSession
from inspector.tui.labs import session_of, session_of_vcpu
from inspector.tui.picture import opened, text_of
from inspector.tui.screens.arm64_lab import Arm64LabScreen
from inspector.tui.screens.id_lab import IdLabScreen
from inspector.tui.widgets.timeline import Timeline
from inspector.tui.world_session import WorldSession
from tests.machine.support import host_named
from tests.tui.support import behind, golden, shows


def session(name: str, events: int = 0) -> Arm64LabSession:
    made = session_of(lab_of(f"sim:{name}"))
    assert isinstance(made, Arm64LabSession)
    for _ in range(events):
        assert not made.next()
    return made


def row(found: Arm64LabSession, name: str) -> tuple[bool, bool | None, str]:
    """Whether the host can, the vCPU has it, and what using it gives."""
    one = next(each for each in found.rows if each.feature.name == name)
    return one.host, one.vcpu, one.touch.name if one.touch is not None else ""


def test_the_features_follow_the_events() -> None:
    found = session("arm64-guest-sve")
    assert row(found, "SVE") == (True, None, "")
    for _ in range(4):
        assert not found.next()
    assert row(found, "SVE") == (True, False, "SVE trap")
    assert row(found, "FP, SIMD") == (True, True, "FP trap")
    for _ in range(3):
        assert not found.next()
    assert row(found, "SVE") == (True, False, "UNDEF")
    assert row(found, "FP, SIMD") == (True, True, "ok")
    assert row(found, "SME") == (False, False, "UNDEF")


def test_keys_ask_for_features_and_use_them() -> None:
    found = session("arm64-guest-sve", 4)
    sve = next(each for each in found.rows if each.feature.name == "SVE")
    assert not found.toggle(sve)
    assert found.world.steps[-1].event == "KVM_ARM_VCPU_INIT PSCI_0_2 SVE"
    assert found.world.steps[-1].outcome.name == "EINVAL", "the VM has its features"
    assert not found.execute(sve)
    assert found.world.steps[-1].event == "guest rdvl"
    mte = next(each for each in found.rows if each.feature.name == "MTE")
    assert "no instruction" in found.execute(mte)
    assert not found.toggle(mte)
    assert found.world.steps[-1].event == "KVM_ENABLE_CAP ARM_MTE"
    sme = next(each for each in found.rows if each.feature.name == "SME")
    assert "no vCPU feature" in found.toggle(sme)


def test_one_looks_at_the_host_to_which_it_happened() -> None:
    found = session("arm64-sve-migration", 7)
    assert (found.host_number, found.host_words) == (0, "host 0: a64fx, Linux 7.2")
    assert not found.next()
    assert (found.host_number, found.host_words) == (1, "host 1: neoverse-v1, Linux 7.2")
    assert not found.event("KVM_CREATE_VM")
    assert found.world.steps[-1].event == "KVM_CREATE_VM host=1"
    assert not found.undo()
    assert not found.redo()
    found.look_at_host(2)
    assert found.host_number == 0


def test_a_vcpu_that_is_looked_at_is_the_one_that_events_name() -> None:
    found = session("arm64-aarch32", 4)
    assert not found.event("KVM_CREATE_VCPU")
    found.look_at(1)
    assert not found.event("KVM_ARM_VCPU_INIT PSCI_0_2 EL1_32BIT")
    assert found.world.steps[-1].event == "KVM_ARM_VCPU_INIT PSCI_0_2 EL1_32BIT vcpu=1"
    assert row(found, "AArch32") == (True, True, "")
    assert [vcpu.name for vcpu in found.capture().vcpus] == ["host 0 vCPU 0", "host 0 vCPU 1"]
    assert found.capture_index() == 1


@pytest.mark.parametrize("further", ["", "KVM_CREATE_VCPU 7 host=1"])
def test_the_command_shows_the_same(further: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = session("arm64-mte")
    for _ in range(3 if further else 17):
        assert not found.next()
    if further:
        assert not found.happen("KVM_CREATE_VM host=1")
        assert not found.happen(further)
    words = shlex.split(found.command())
    sim.run([*words[2:], "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert [event["name"] for event in shown["events"]] == [step.outcome.name for step in found.world.steps]


def test_what_cannot_be_done_is_said() -> None:
    found = session("arm64-mte")
    assert "there is no VM" in found.event("KVM_CREATE_VCPU")
    assert found.undo() == "nothing to undo"
    assert found.redo() == "nothing to redo"
    assert isinstance(found, WorldSession)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "scenario", "keys"),
    [
        ("arm64-lab-new", "arm64-guest-sve", []),
        ("arm64-lab-trap", "arm64-guest-sve", [*["n"] * 6]),
        ("arm64-lab-refused", "arm64-grace-to-graviton3", [*["n"] * 12]),
        ("arm64-lab-help", "arm64-mte", ["question_mark"]),
    ],
)
async def test_screens(name: str, scenario: str, keys: list[str], size: tuple[int, int]) -> None:
    app = app_of(f"sim:{scenario}")
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_the_screen_by_keys() -> None:
    app = app_of("sim:arm64-sve-migration")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, Arm64LabScreen)
        found = screen.session
        await pilot.press("o", "w", *["n"] * 4)
        await pilot.press(*behind("i"), "w", *behind("f", "c", "i", "less_than_sign"), "H", *behind("m", "v"))
        await pilot.press("right_square_bracket")
        await pilot.pause()
        events = [step.event for step in found.world.steps[4:]]
        assert events[:3] == ["guest rdvl", "KVM_ARM_VCPU_FINALIZE SVE", "guest msr CPACR_EL1 0x3330000"]
        assert events[-2:] == ["KVM_CREATE_VM host=1", "KVM_CREATE_VCPU host=1"]
        await pilot.press("colon", *"KVM_RUN", "enter", "T")
        await pilot.pause()
        assert app.screen is not screen
        await pilot.press("escape", "u", "o")
        await pilot.pause()
        assert app.screen is not screen


# What both labs of worlds have


def test_the_same_events_on_another_host_kernel_or_interface() -> None:
    found = session("arm64-sve-abi", 4)
    assert not found.go("policy=proposal")
    assert found.world.abi == "proposal"
    assert not found.go("neoverse-v1")
    assert not found.go("kernel=6.12")
    assert (found.place, len(found.world.steps)) == ("host=neoverse-v1 kernel=6.12 policy=proposal", 4)
    assert "expected merged, proposal" in found.go("policy=upstream")
    assert "--abi proposal" in found.command()
    beside = found.against("policy=merged")
    assert not isinstance(beside, str)
    assert beside.names == ("proposal", "merged")


async def test_against_the_proposal_side_by_side() -> None:
    app = app_of("sim:arm64-sve-abi")
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press(*["n"] * 8, "A", *"proposal", "enter")
        await shows(app, "first difference: event")
        assert "proposal" in text_of(app)


def test_features_are_found_by_name_field_and_instruction() -> None:
    found = session("arm64-guest-sve")
    names = [row.feature.name for row in found.rows]
    for text, name in (("pauth", "PAuth"), ("PMUVer", "PMU"), ("smstart", "SME"), ("mte", "MTE")):
        assert found.search(text, 0) == names.index(name)
    assert found.search("nothing", 0) is None


def test_the_events_are_a_file_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = session("arm64-sve-migration", 8)
    path = tmp_path / "moved.events"
    path.write_text(found.event_file())
    assert "host=a64fx kernel=7.2 policy=merged to=neoverse-v1\n" in path.read_text()
    sim.run([str(path), "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert [event["name"] for event in shown["events"]] == [step.outcome.name for step in found.world.steps]


_STARTED = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2")


@pytest.mark.parametrize(
    ("events", "refused", "then"),
    [
        (["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_GET_REG_LIST"], "ENOEXEC", "ok"),
        (["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 PTRAUTH_ADDRESS"], "EINVAL", "ok"),
        (["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE", "KVM_GET_ONE_REG z0"], "EPERM", "ok"),
        (["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2", "guest fadd"], "FP trap", "ok"),
        (["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2", "KVM_RUN"], "EINTR", "ok"),
        (
            ["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE", "KVM_ARM_VCPU_GET_SVE_VLS"],
            "EINVAL",
            "ok",
        ),
        # A vCPU's features and a VM's capabilities stay: another VM has them.
        ([*_STARTED, "KVM_ARM_VCPU_INIT PSCI_0_2 SVE"], "EINVAL", "ok"),
        ([*_STARTED, "KVM_ARM_VCPU_FINALIZE SVE"], "EINVAL", "ok"),
        ([*_STARTED, "KVM_GET_ONE_REG z0"], "ENOENT", "ok"),
        ([*_STARTED, "guest msr CPACR_EL1 0x3330000", "guest rdvl"], "UNDEF", "ok"),
        ([*_STARTED, "guest pacia"], "UNDEF", "ok"),
        ([*_STARTED, "KVM_ENABLE_CAP ARM_WRITABLE_IMP_ID_REGS"], "EINVAL", "ok"),
        ([*_STARTED, "KVM_SET_ONE_REG MIDR_EL1 0x411fd400"], "EINVAL", "ok"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else value,
)
def test_what_is_offered_helps(events: list[str], refused: str, then: str) -> None:
    found = session("arm64-guest-sve")
    for event in events:
        assert not found.happen(event)
    assert found.world.steps[-1].outcome.name == refused
    assert found.offers()
    assert not found.follow()
    assert found.world.steps[-1].outcome.name == then


def test_one_looks_at_the_vm_that_was_offered() -> None:
    found = session("arm64-guest-sve")
    for event in (*_STARTED, "KVM_ARM_VCPU_FINALIZE SVE"):
        assert not found.happen(event)
    sve = found.rows[1]
    assert (sve.feature.name, sve.vcpu, found.vm_number) == ("SVE", False, 0)
    found.follow()
    assert (found.rows[1].vcpu, found.vm_number) == (True, 1)
    assert found.host_words.endswith(", VM 1")
    # Keys go on there; what names no VM is of the first one, and without the second VM there is nothing to look at.
    found.event("guest fadd")
    assert found.world.steps[-1].event == "guest fadd vm=1"
    assert found.offers()[0].steps[0].endswith(" vm=1")
    found.happen("guest fadd")
    assert found.vm_number == 0
    found.event("KVM_CREATE_VM")
    assert found.vm_number == 2
    found.undo()
    assert found.vm_number == 0


def test_no_vm_is_offered_with_what_the_host_has_not() -> None:
    world = Arm64World([host_named("neoverse-n1@7.2")])
    for event in (*_STARTED, "KVM_ARM_VCPU_FINALIZE SVE"):
        world.happen(event)
    assert world.steps[-1].outcome.name == "EINVAL"
    assert offers(world.steps[-1], world.nodes[0]) == []


def test_who_acts() -> None:
    found = session("arm64-guest-sve", 14)
    assert not found.happen("KVM_RUN")
    paths = {step.event: step.path for step in found.world.steps}
    assert paths["KVM_CREATE_VM"].lanes == ["VMM", "host kernel"]
    assert paths["guest mrs ID_AA64PFR0_EL1"].lanes == ["guest kernel", "vCPU", "host kernel"]
    assert paths["guest msr ID_AA64PFR0_EL1 0"].native
    assert not paths["guest pacia"].native
    trapped = next(step for step in found.world.steps if step.outcome.name == "SVE trap")
    assert (trapped.path.lanes, trapped.path.native) == (["guest kernel", "vCPU"], True)
    undefined = [step for step in found.world.steps if step.event == "guest rdvl"][-1]
    assert undefined.path.lanes == ["guest kernel", "vCPU", "host kernel"]


async def test_there_is_a_way_to_the_id_registers_and_back() -> None:
    app = app_of("model:neoverse-n1-v1:neoverse-n1,graviton3")
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        below = app.screen
        await pilot.press("P", *["n"] * 4)
        await pilot.pause()
        lab = app.screen
        assert isinstance(lab, Arm64LabScreen)
        assert [step.outcome.name for step in lab.session.world.steps] == ["ok"] * 4
        # Half of the columns has no room for lanes; below the few features there are lines enough.
        assert lab.query_one(Timeline).has_lanes
        assert lab.session.command().startswith("inspector sim new --host neoverse-n1 --to graviton3 --kernel 7.2")
        await pilot.press("I")
        await pilot.pause()
        registers = app.screen
        assert isinstance(registers, IdLabScreen)
        assert registers.session.host_words() == ["neoverse-n1@7.2", "graviton3@7.2"]
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert app.screen is below


@pytest.mark.parametrize("plays", [True, False])
def test_a_command_that_is_copied_runs(plays: bool, capsys: pytest.CaptureFixture[str]) -> None:
    capture = capture_of("sample:arm64-kvm/max-linux-7.2.13.regs")
    for _ in range(2):
        found = session_of_vcpu(capture, capture.vcpus[0], plays=plays)
        command = found.command()
        if command:
            assert main(shlex.split(command)[1:]) == 0
            assert capsys.readouterr().out
        if isinstance(found, Arm64LabSession):
            assert not found.next()
        # What the lab's machine gives has no word; once more, of that.
        made = session("arm64-sve-migration", 5).capture()
        again = session_of_vcpu(made, made.vcpus[0], plays=plays)
        assert again.command() == ""
