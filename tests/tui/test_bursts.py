"""Keys without a pause between them, as when somebody leans on the keyboard or pastes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from textual import events

from inspector.cli.open import app_of
from inspector.tui.picture import opened
from inspector.tui.session import Session
from inspector.tui.widgets.detail_pane import DetailPane
from inspector.tui.widgets.field_list import FieldList
from tests.support import opened as capture_of
from tests.tui.support import running, session_of

#: Key names with the character that a terminal sends.
KEYS = [(key, key) for key in "xnewtzLcojkT/:[]"] + [
    *(("ctrl+p", "\x10"), ("question_mark", "?"), ("escape", None), ("enter", "\r"), ("backspace", "\x7f")),
    *((key, None) for key in ("up", "down", "pageup", "pagedown", "home", "end", "tab", "ctrl+home", "ctrl+end")),
]
BURST = 12
TARGETS = ["sample:amx/process.core", "sample:zen5-kvm", "sim:guest-xfd", "model:neoverse-v1-v1:neoverse-n1"]


async def burst(app, keys: list[tuple[str, str | None]]) -> None:
    for key, character in keys:
        app.post_message(events.Key(key, character))


@pytest.mark.parametrize("target", TARGETS)
async def test_bursts_of_keys_end_nothing(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most open the palette; no exception, and the program still takes a key behind them."""
    monkeypatch.chdir(tmp_path)
    keys = random.Random(target)
    app = app_of(target)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(app, pilot)
        for _ in range(25):
            await burst(app, [("ctrl+p", "\x10"), *keys.choices(KEYS, k=BURST - 1)])
            await asyncio.sleep(keys.choice([0, 0, 0.02, 0.1]))
        assert not app.failure
        app.exit()
        await asyncio.sleep(0.1)


async def test_a_command_of_the_palette_runs_once() -> None:
    async with running() as (app, pilot):
        await pilot.press("ctrl+p", *"copy command")
        await asyncio.sleep(0.8)
        await burst(app, [("enter", "\r")] * 6)
        await pilot.pause(0.3)
        assert app.screen is app.inspect
        assert sum("clipboard" in note.message for note in app._notifications) <= 1


async def test_keys_behind_the_key_that_opens_a_screen_are_for_that_screen() -> None:
    async with running("sample:amx") as (app, pilot):
        await burst(app, [("L", "L"), ("n", "n"), ("n", "n"), ("escape", None), ("escape", None)])
        await pilot.pause(0.3)
        assert app.screen is app.inspect


async def test_a_key_that_comes_back_from_a_widget_does_nothing() -> None:
    """Its own screen did not know it; the one that is shown by then would: z is Zoom here."""
    async with running() as (app, pilot):
        late = events.Key("z", "z")
        late._set_forwarded()
        app.post_message(late)
        await pilot.pause()
        assert app.screen.maximized is None


async def test_keys_before_the_capture_is_there_do_nothing() -> None:
    app = app_of("sample:amx/process.core")
    app.read_target = lambda: None
    async with app.run_test() as pilot:
        await pilot.press(*"/:fLczeyYunNEa[]", "space", "enter", "ctrl+r", "question_mark", "escape")
        for pane in app.screen.focus_chain:
            pane.focus()
            await burst(app, [(key, None) for key in (*"jlGg", "pagedown", "ctrl+d", "left", "enter")])
            await pilot.click(pane, offset=(5, 1))
        assert not app.failure
        assert app.inspect.session is None


async def test_the_detail_of_a_cursor_behind_the_last_row() -> None:
    async with running() as (app, _pilot):
        session_of(app).cursor = 10_000
        app.screen.query_one(DetailPane).show(session_of(app))
        session = Session(capture_of("amx/process.core"))
        session.cursor = 10_000
        session.rows.visible = session.rows.visible[:1]
        app.screen.query_one(DetailPane).show(session)


async def test_a_move_that_comes_late_moves_nothing_back() -> None:
    """Keys that move and a search behind them in one burst: the first move's message comes when the search is done."""
    app = app_of("sample:amx/process.core")
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        fields = app.screen.query_one(FieldList)
        late = FieldList.Moved(fields)
        session_of(app).jump("xsave.pkru.pkru")
        fields.show(session_of(app))
        fields.post_message(late)
        await pilot.pause()
        found = session_of(app).field()
        assert found is not None
        assert found.path == "xsave.pkru.pkru"
