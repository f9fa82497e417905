"""``inspector tour``: every stop is left by what it asks for, and by nothing else."""

from __future__ import annotations

import re

import pytest

from inspector.cli.main import main
from inspector.tui import keys
from inspector.tui.key import keys_of
from inspector.tui.screens.id_lab import IdLabScreen
from inspector.tui.tour import PARTS, Tour
from inspector.tui.tour_app import TourApp
from tests.tui.support import shows

#: Keys of each stop, in order.
WALK = (
    ("down", "end"),
    ("space", "p"),
    ("space", "v"),
    ("space", "c"),
    ("space", "B"),
    ("space", "a", "space", "l"),
    ("w",),
    ("u",),
    ("T", "escape"),
    ("f2",),
    ("b",),
    ("right",),
    ("slash", "S", "V", "E", "2", "enter"),
    ("w",),
    ("M", "escape"),
)


async def test_the_whole_tour() -> None:
    app = TourApp()
    async with app.run_test(size=(120, 35)) as pilot:
        for number, stop in enumerate(WALK, start=1):
            await shows(app, f"tour {number} of {len(WALK) + 1}: ")
            await pilot.press(*stop)
        await shows(app, "Ctrl-Q leaves")
        assert isinstance(app.screen, IdLabScreen)
        # Back over the door, by its own key and by that of the screen.
        await pilot.press(*["f3"] * 6)
        await shows(app, "tour 10 of")
        await pilot.press("f2")
        await shows(app, "tour 11 of")
        await pilot.press("escape")
        await shows(app, "tour 10 of")
        await pilot.press("f2")
        await shows(app, "tour 11 of")


async def test_at_80x24_a_stop_is_whole_and_other_keys_do_not_leave_it() -> None:
    app = TourApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("up", "slash", "escape", "space", "escape", "space", "v", "question_mark", "q")
        await shows(app, "tour 1 of")
        await shows(app, "18, AMX's tiles.")


async def test_a_line_that_is_typed_while_the_program_ends_ends_it() -> None:
    app = TourApp()
    async with app.run_test() as pilot:
        await pilot.pause()
        app._screen_stacks[app.current_mode].clear()
        app.on_prompt_submitted()
        app._show_stop()
        assert app.failure is None
        app._screen_stacks[app.current_mode].append(app.lab)


def test_every_key_that_is_named_is_a_key() -> None:
    ids = {key.id for name in keys.SCREENS for key, _ in keys_of(keys.help_of(name))}
    ids |= {key.id for key, _ in keys_of(keys.TOUR)}
    for part in PARTS:
        for stop in part.stops:
            assert set(re.findall(r"\{([^}]*)\}", stop.text)) <= ids
            assert set(stop.keys) <= ids
            assert stop == part.stops[-1] or stop.keys or stop.event or stop.searched


def test_the_ends_of_the_tour_are_ends() -> None:
    tour = Tour()
    assert not tour.go(-1)
    assert tour.number == 0
    tour.part, tour.number = len(PARTS) - 1, len(PARTS[-1].stops) - 1
    assert not tour.go(1)
    assert tour.number == len(PARTS[-1].stops) - 1


def test_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tour"]) == 2
    assert "needs a terminal" in capsys.readouterr().err
