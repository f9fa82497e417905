"""The Fleet screen, driven by keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from inspector.cli.main import main
from inspector.cli.open import app_of
from inspector.tui import fleet_session
from inspector.tui.door import FleetApp
from inspector.tui.picture import opened
from inspector.tui.screens.fleet import FleetScreen
from inspector.tui.screens.migration import MigrationScreen
from inspector.tui.start import StartApp
from inspector.tui.wanted import TargetWanted
from tests.fleet.fleets import small
from tests.tui.asked_here import AskedHere
from tests.tui.support import golden, shows, type_line

SCREENS: dict[str, list[str]] = {
    "fleet": [],
    "fleet-help": ["question_mark"],
    "fleet-guest": ["c", "j", "enter"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("fleet")
    small(found)
    return found


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_session, "AskedProcess", AskedHere)


@asynccontextmanager
async def fleet(word: str, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[FleetApp, Pilot[int]]]:
    app = app_of(word)
    assert isinstance(app, FleetApp)
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        yield app, pilot


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
async def test_fleet_screens(name: str, size: tuple[int, int], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    async with fleet("fleet:small.fleet", size) as (app, pilot):
        for key in SCREENS[name]:
            await pilot.press(key)
            await opened(app, pilot)
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_into_a_class_a_host_and_back(folder: Path) -> None:
    async with fleet(str(folder / "small.fleet")) as (app, pilot):
        assert app.target == str(folder / "small.fleet")
        await type_line(pilot, "slash", "linux-5.10")
        await pilot.press("enter")
        await shows(app, "class 3: 1 host")
        await pilot.press("y")
        assert app.clipboard == "sample:ice-lake/linux-5.10"
        await pilot.press("enter")
        await shows(app, "CPUID of a guest")
        await pilot.press("Y")
        assert app.clipboard == "inspector show sample:ice-lake/linux-5.10"
        await pilot.press("q", "escape")
        assert app.screen is app.fleet
        await pilot.press("n", "N", "Y")
        assert app.clipboard.startswith("inspector fleet lattice --store ")


async def test_a_refused_guest_becomes_a_migration(folder: Path) -> None:
    async with fleet(str(folder / "small.fleet")) as (app, pilot):
        await pilot.press("c")
        await shows(app, "✗ 3")
        await type_line(pilot, "slash", "cascade")
        await pilot.press("enter")
        assert isinstance(app.screen, FleetScreen)
        await pilot.press("enter")
        await shows(app, "✗ refused")
        assert isinstance(app.screen, MigrationScreen)
        await pilot.press("escape", "escape")
        assert app.screen is app.fleet


async def test_a_forecast_is_typed(folder: Path) -> None:
    async with fleet(str(folder / "small.fleet")) as (app, pilot):
        await type_line(pilot, "f", "soon")
        await shows(app, "expected a release of Linux")
        await pilot.press("ctrl+u", *"6.1", "tab", "enter")
        await shows(app, "what Linux 6.1")
        await pilot.press("o")
        await shows(app, "no host is otherwise")
        await pilot.press("p", "enter")
        await shows(app, "pool 1: 1 host")


async def test_a_store_is_opened_from_the_start_screen(folder: Path) -> None:
    app = StartApp()
    async with app.run_test() as pilot:
        await opened(app, pilot)
        app.open(TargetWanted(f"fleet:{folder / 'small.fleet'}"))
        await shows(app, "split first by")
        assert app.state.recent[0] == str(folder / "small.fleet")
        await pilot.press("escape")
        await shows(app, str(folder)[-20:])


def test_a_picture_waits_for_what_was_asked(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "fleet.txt"
    assert main(["screenshot", str(folder / "small.fleet"), "--press", "b", "-o", str(path)]) == 0
    assert "gives up" in path.read_text()
