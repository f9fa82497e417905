"""The XSTATE lab, driven by keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from inspector.targets.scenarios import scenario_of
from inspector.targets.x86_named import world_of
from inspector.tui.app import InspectorApp
from inspector.tui.door import LabApp
from inspector.tui.picture import text_of
from inspector.tui.screens.timeline import StateView
from inspector.tui.screens.xstate_lab import XstateLabScreen
from inspector.tui.widgets.component_matrix import ComponentMatrix
from inspector.tui.widgets.outcome_pane import OutcomePane
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.timeline import Timeline
from inspector.tui.xstate_lab_session import XstateLabSession
from tests.machine.support import vcpu_of
from tests.tui.support import behind, golden, shows


@asynccontextmanager
async def lab(name: str, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[LabApp, Pilot[int]]]:
    scenario = scenario_of(name)
    app = LabApp(XstateLabSession(world_of(scenario), scenario))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


def session_of_lab(app: LabApp) -> XstateLabSession:
    assert isinstance(app.lab, XstateLabScreen)
    return app.lab.session


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "scenario", "keys"),
    [
        ("lab-new", "new", []),
        ("lab-refused", "guest-xfd", ["n"] * 7),
        ("lab-lost", "rfc-preempt", ["n"] * 11),
        ("lab-help", "new", ["question_mark"]),
        ("lab-levels", "transcript-vm-amx", ["n"] * 11),
        ("lab-timeline", "transcript-vm-amx", [*["n"] * 11, "T"]),
        ("lab-down", "host-oops", ["n"] * 8),
        ("lab-why", "guest-xfd", [*["n"] * 7, "w"]),
        ("lab-against", "rfc-preempt", [*["n"] * 11, "A", *"upstream", "enter"]),
    ],
)
async def test_lab_screens(name: str, scenario: str, keys: list[str], size: tuple[int, int]) -> None:
    async with lab(scenario, size) as (app, pilot):
        await pilot.press(*keys)
        await pilot.pause()
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_without_colour_the_lab_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with lab("guest-xfd") as (app, pilot):
        await pilot.press(*["n"] * 7)
        await pilot.pause()
        await golden(app, "lab-refused-80x24")


async def test_the_header_fits_half_a_screen_and_who_acts_has_the_whole() -> None:
    async with lab("guest-xfd", (120, 35)) as (app, pilot):
        await pilot.pause()
        header = app.lab.query_one("#columns")
        assert header.size.height == 2
        assert text_of(app).splitlines()[2].rstrip().endswith("at    bytes")
        await pilot.press(*["n"] * 7, "T")
        await pilot.pause()
        await shows(app, "is queued to the guest (handle_exception_nmi)")
        way, state = app.screen.query_one("#way"), app.screen.query_one(StateView)
        assert (way.max_scroll_y, way.size.width) == (0, state.size.width)


async def test_a_small_terminal_shows_every_pane() -> None:
    async with lab("guest-xfd", (40, 10)) as (app, pilot):
        await pilot.press("n", "n")
        await pilot.pause()
        for pane in (ComponentMatrix, Timeline, OutcomePane):
            region = app.lab.query_one(pane).region
            assert region.height >= 2, pane
            assert region.bottom <= 10, pane
        await shows(app, "outcome")


async def test_bits_are_events() -> None:
    async with lab("new") as (app, pilot):
        await pilot.press("end", *behind("x"))
        assert session_of_lab(app).world.steps == []
        await pilot.press(*behind("p", "v", "c", "x"))
        await pilot.pause()
        assert session_of_lab(app).world.steps[-1].event == "guest xsetbv 0x60001"
        await pilot.press(*behind("x", "X"))
        await pilot.pause()
        refused = session_of_lab(app).world.steps[-1]
        assert (refused.event, refused.outcome.name) == ("guest xsetbv 0x40001", "#GP")
        assert "both or none" in refused.outcome.because
        await pilot.press(*behind("f"))
        assert xfd_of(app) == (
            0x40000,
            True,
        )
        await pilot.press(*behind("f"))
        assert xfd_of(app) == (0, True)


async def test_stepping_to_the_end_and_back() -> None:
    async with lab("snapshot-einval") as (app, pilot):
        begin = text_of(app)
        events = len(session_of_lab(app).scenario.events)
        await pilot.press(*["n"] * (events + 1))
        await pilot.pause()
        assert len(session_of_lab(app).world.steps) == events
        await pilot.press(*["u"] * events)
        await pilot.pause()
        assert session_of_lab(app).to_come == list(session_of_lab(app).scenario.events)
        assert text_of(app).splitlines()[:20] == begin.splitlines()[:20]


async def test_typed_events_and_their_errors() -> None:
    async with lab("new") as (app, pilot):
        await pilot.press("colon", *"nonsense", "enter")
        await pilot.pause()
        prompt = app.lab.query_one(Prompt)
        assert prompt.styles.display == "block"
        await shows(app, "no such event")
        assert session_of_lab(app).world.steps == []
        await pilot.press("escape", "colon", *"KVM_CREATE_VCPU", "enter")
        await pilot.pause()
        assert [step.event for step in session_of_lab(app).world.steps] == ["KVM_CREATE_VCPU"]
        assert app.focused is app.lab.query_one(ComponentMatrix)


async def test_a_host_that_is_down_takes_no_more_events() -> None:
    async with lab("host-oops") as (app, pilot):
        await pilot.press(*["n"] * 8, *behind("l"))
        await pilot.pause()
        assert session_of_lab(app).world.steps[-1].outcome.verdict == "host-oops"
        assert len(session_of_lab(app).world.steps) == 8
        await pilot.press("u", "u", *behind("l"))
        await pilot.pause()
        assert session_of_lab(app).world.steps[-1].outcome.accepted


async def test_the_outcome_follows_the_timeline() -> None:
    async with lab("permission-too-late") as (app, pilot):
        await pilot.press("n", "n", "n", "tab")
        assert isinstance(app.focused, Timeline)
        await pilot.press("up")
        await pilot.pause()
        await shows(app, "✗ does not hold: no vCPU was created yet")


def xfd_of(app: LabApp, number: int = 0) -> tuple[int, bool]:
    """A vCPU's XFD, and whether KVM passes it through."""
    vcpu = vcpu_of(session_of_lab(app).world, number)
    return vcpu.xfd, vcpu.passes_xfd


def told(app: LabApp) -> list[str]:
    """The notifications so far."""
    return [notification.message for notification in app._notifications]


async def test_host_and_guest_are_side_by_side_or_one_by_one() -> None:
    async with lab("transcript-vm-amx") as (app, pilot):
        await pilot.press(*["n"] * 9)
        await pilot.pause()
        assert "gperm" in text_of(app).splitlines()[1]
        await pilot.press("L")
        await pilot.pause()
        assert "gperm" not in text_of(app).splitlines()[1]
        await shows(app, "xtiledata grows")


async def test_why_walks_from_the_cpu_to_the_program() -> None:
    async with lab("transcript-vm-sigill", (160, 45)) as (app, pilot):
        await pilot.press(*["n"] * 10, "w")
        await shows(app, "xtiledata: guest program: SIGILL; nobody asked the guest's kernel")


async def test_keys_are_about_the_selected_vcpu() -> None:
    async with lab("two-vcpus", (160, 45)) as (app, pilot):
        await pilot.press(*["n"] * 8, "right_square_bracket")
        await shows(app, "vCPU 1 (2/2)")
        await pilot.press(*behind("a"))
        await pilot.pause()
        assert session_of_lab(app).world.steps[-1].event == "guest ldtilecfg vcpu=1"
        await pilot.press(*behind("f"))
        await pilot.pause()
        assert xfd_of(app, 1) == (
            0x40000,
            True,
        )
        assert xfd_of(app) == (0, False)


async def test_the_timeline_shows_before_and_after() -> None:
    async with lab("snapshot-einval") as (app, pilot):
        await pilot.press("T")
        await pilot.pause()
        assert told(app) == ["nothing has happened yet"]
        await pilot.press("n", "n", "n", "T")
        await shows(app, "vCPU 0 supported XCR0")
        await pilot.press("up")
        await shows(app, "0x602e7 locked")
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.lab


async def test_the_bytes_of_a_component_open_and_close() -> None:
    async with lab("snapshot-einval") as (app, pilot):
        await pilot.press(*["n"] * 6, "o")
        await shows(app, "xsave.xtiledata.tmm[0]")
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.lab


async def test_the_machine_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with lab("snapshot-einval") as (app, pilot):
        await pilot.press("n", "n", "S")
        await pilot.pause()
        assert told(app) == ["saved sim-snapshot-einval.vcpu"]
        assert (tmp_path / "sim-snapshot-einval.vcpu").stat().st_size > 1000
        await pilot.press("S")
        await pilot.pause()
        assert told(app)[-1] == "saved sim-snapshot-einval-2.vcpu"


async def test_a_captured_vcpu_goes_to_the_lab_and_back() -> None:
    app = InspectorApp("sample:amx")
    async with app.run_test(size=(100, 40)) as pilot:
        await shows(app, "vcpu")
        await pilot.press("L")
        await shows(app, "sim:restore")
        await pilot.press(*["n"] * 7)
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, XstateLabScreen)
        assert all(step.outcome.accepted for step in screen.session.world.steps)
        assert len(screen.session.world.steps) == 7
        await pilot.press("o")
        await shows(app, "made by the simulated machine")
        await pilot.press("escape")
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.inspect


async def test_another_kernel_in_the_lab_tells_what_cannot_happen_there() -> None:
    async with lab("transcript-tdx", (160, 45)) as (app, pilot):
        await pilot.press(*["n"] * 6, "W", *"6.12", "enter")
        await shows(app, "cannot happen there, and were left out")
        await shows(app, "Linux 6.12")
        await pilot.press("W", *"nonsense", "enter")
        await shows(app, "expected host=CPU kernel=RELEASE policy=NAME")


async def test_an_offered_step_is_made_by_its_key() -> None:
    async with lab("guest-xfd") as (app, pilot):
        await pilot.press(*["n"] * 7, *behind("full_stop"))
        await pilot.pause()
        last = [step.event for step in session_of_lab(app).world.steps[-3:]]
        assert last == ["guest wrmsr XFD_ERR 0", "guest wrmsr XFD 0", "guest tileloadd 0"]


async def test_the_events_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with lab("guest-xfd") as (app, pilot):
        await pilot.press("n", "n", "ctrl+s")
        await pilot.pause()
        assert told(app) == ["saved sim-guest-xfd.events"]
        assert "KVM_CREATE_VCPU\n" in (tmp_path / "sim-guest-xfd.events").read_text()
