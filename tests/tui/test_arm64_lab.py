"""The lab of an arm64 world: its session without a screen, and its screen."""

from __future__ import annotations

import json
import shlex

import pytest

from inspector.cli import sim
from inspector.cli.open import app_of
from inspector.targets.schemes import lab_of
from inspector.tui.arm64_lab_session import Arm64LabSession
from inspector.tui.labs import session_of
from inspector.tui.screens.arm64_lab import Arm64LabScreen
from inspector.tui.world_session import WorldSession
from tests.tui.support import behind, golden


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
