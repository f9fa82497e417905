"""Events are behind a leader: stray typing lets nothing happen."""

from __future__ import annotations

import random
import string

import pytest
from textual import events

from inspector.cli.open import app_of
from inspector.tui import keys
from inspector.tui.key import is_behind, keys_of
from inspector.tui.leader import Entry, panel
from inspector.tui.picture import text_of
from inspector.tui.screens.world_lab import WorldLabScreen
from inspector.tui.widgets.outcome_pane import OutcomePane
from tests.monkey import _nothing_is_written
from tests.tui.support import behind, golden, shows

LABS = {"xstate lab": "sim:guest-xfd", "arm64 lab": "sim:arm64-life-cycle"}
SIZES = [(80, 24), (120, 35), (160, 45), (220, 60)]
#: What lets events happen; of these next, undo and redo have keys of their own.
PLAYS = ("event", "flip", "feature", "execute", "suggested")


def lab_of(app: object) -> WorldLabScreen:
    lab = app.lab  # type: ignore[attr-defined]
    assert isinstance(lab, WorldLabScreen)
    return lab


@pytest.mark.parametrize("lab", LABS)
def test_every_event_is_behind_the_leader(lab: str) -> None:
    found = {key.id: key for key, _ in keys_of(keys.SCREENS[lab]) if key.action.startswith(PLAYS)}
    assert len(found) > 6
    for key in found.values():
        assert all(map(is_behind, key.keys.split(","))), key.id


@pytest.mark.parametrize("target", LABS.values())
async def test_stray_typing_plays_no_event(target: str) -> None:
    chance = random.Random(target)
    typed = sorted({*string.ascii_letters, *string.digits, *".,;<>!?*#-_="} - {*"nu"})
    app = app_of(target)
    with _nothing_is_written():
        async with app.run_test(size=(80, 24)) as pilot:
            app.exit = lambda *_, **__: None  # type: ignore[method-assign]
            await pilot.press("n", "n")
            for _ in range(150):
                character = chance.choice(typed)
                app.post_message(events.Key(character, character))
            await pilot.pause()
            assert not app.failure
            assert [step.event for step in lab_of(app).session.world.steps] == [
                *lab_of(app).session.scenario.events[:2]
            ]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("target", LABS.values())
async def test_the_panel_never_covers_the_outcome(target: str, size: tuple[int, int]) -> None:
    app = app_of(target)
    async with app.run_test(size=size) as pilot:
        await pilot.press("n", "space")
        await pilot.pause()
        lab = lab_of(app)
        outcome, shown = lab.query_one(OutcomePane).region, lab.panel.region
        assert shown.height > 5
        assert not shown.overlaps(outcome)
        assert shown.bottom == outcome.y or shown.bottom == size[1] - 1
        text = text_of(app)
        assert "more: ?" not in text
        assert all(entry.text in text for group in lab.panel.groups() for entry in group)
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is lab
        assert "a letter plays one" not in text_of(app)


async def test_the_panel_opens_and_closes() -> None:
    app = app_of("sim:guest-xfd")
    async with app.run_test(size=(80, 24)) as pilot:
        lab = lab_of(app)
        count = 4
        await pilot.press(*["n"] * count)
        for opens, closes in (("space", "space"), ("enter", "escape"), ("space", "enter"), ("enter", "space")):
            await pilot.press(opens)
            assert lab.panel.is_open
            await pilot.press(closes)
            assert not lab.panel.is_open
        await pilot.press("space", "z", "n", "u", "question_mark")
        assert lab.panel.is_open, "what is none closes nothing"
        await shows(app, "? is none of these")
        assert len(lab.session.world.steps) == count
        await shows(app, "18 xtiledata")
        await pilot.press("up", "up")
        await shows(app, "12 cet_s")
        await pilot.press("down", "down", "f")
        await pilot.pause()
        assert not lab.panel.is_open
        assert lab.session.world.steps[-1].event == "guest wrmsr XFD 0x40000"
        await pilot.press("space")
        await shows(app, "WRMSR XFD[18] = 0")
        await golden(app, "lab-events-80x24")


async def test_keys_typed_ahead_are_the_same() -> None:
    app = app_of("sim:guest-xfd")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*["n"] * 4)
        for key in behind("f", "f", "x", "x"):
            app.post_message(events.Key(key, " " if key == "space" else key))
        await pilot.pause()
        played = [step.event for step in lab_of(app).session.world.steps[4:]]
        assert played == [
            "guest wrmsr XFD 0x40000",
            "guest wrmsr XFD 0x0",
            "guest xsetbv 0x2e7",
            "guest xsetbv 0x602e7",
        ]


async def test_a_key_of_the_panel_can_be_clicked() -> None:
    app = app_of("sim:arm64-life-cycle")
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("n", "space")
        await pilot.pause()
        lab = lab_of(app)
        lines = text_of(app).splitlines()
        y = next(number for number, line in enumerate(lines) if "Create VM" in line)
        shown = lab.panel.region
        await pilot.click(lab.panel, offset=(lines[y].index("Create VM") - shown.x, y - shown.y))
        await pilot.pause()
        assert lab.session.world.steps[-1].event == "KVM_CREATE_VM"
        assert not lab.panel.is_open


def test_groups_stay_together_or_as_much_as_fits_is_shown() -> None:
    groups = [
        [Entry("", "", name), *(Entry(f"space {letter}", letter, letter * 9) for letter in name)]
        for name in ("abc", "de")
    ]
    assert panel(groups, 60, 9).columns == groups
    assert panel(groups, 30, 9).columns == [groups[0] + groups[1]]
    (few,) = panel(groups, 30, 4).columns
    assert few[-1].text == "… 3 more: ?"
    assert panel(groups, 60, 9).at(31, 1) == groups[1][1]
    assert panel(groups, 60, 9).at(31, 0) is None
    assert panel([], 0, 0).lines() == []
