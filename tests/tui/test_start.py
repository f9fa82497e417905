"""The start screen: what there is to open, and back to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.targets.schemes import lab_of
from inspector.tui.picture import opened, text_of
from inspector.tui.screens.inspect import InspectScreen
from inspector.tui.screens.start import StartScreen
from inspector.tui.screens.xstate_lab import XstateLabScreen
from inspector.tui.start import StartApp
from inspector.tui.start_session import StartSession
from inspector.tui.state import Place, State
from tests.tui.support import shows


def test_the_list_is_narrowed_by_words_of_name_and_line(tmp_path: Path) -> None:
    (tmp_path / "core.1").touch()
    kept = State(recent=[str(tmp_path / "core.1"), str(tmp_path / "gone"), "sample:amx"])
    kept.left(str(tmp_path / "core.1"), Place("xsave.pkru.pkru", 0))
    session = StartSession(kept)
    assert [entry.about for entry in session.lines if not entry.target] == list(session._groups)
    assert session.lines[1] == (str(tmp_path / "core.1"), "last at xsave.pkru.pkru")
    assert session.lines[2].target == "sample:amx"
    assert session.lines[2].about
    everything = session.count
    assert session.filter("AMX core")
    assert 0 < session.count < 10
    assert not session.filter("xyzzy")
    assert session.lines == []
    session.filter("")
    assert session.count == everything
    heading = session.next_heading(session.first(), 1)
    assert session.next_heading(heading, -1) == session.first()


@pytest.mark.parametrize("part", ["sim:new:", "model:host:"])
def test_hosts_open_their_lab(part: str) -> None:
    session = StartSession()
    session.filter(part)
    for entry in session.lines[1::9]:
        assert lab_of(entry.target)


async def test_open_and_back() -> None:
    app = StartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        await pilot.press("slash", *"process.core", "down", "up")
        # What the list cuts is whole below it.
        assert "core of a process with AMX tiles, AVX-…" in text_of(app)
        assert "sample:amx/process.core: core of a process with AMX tiles, AVX-512 and PKRU in" in text_of(app)
        await pilot.press("enter")
        await shows(app, "xstate_bv")
        assert isinstance(app.screen, InspectScreen)
        assert app.state.recent == ["sample:amx/process.core"]
        await pilot.press("escape")
        assert isinstance(app.screen, StartScreen)
        assert "filter 'process.core', Esc: all" in text_of(app)
        await pilot.press("escape", "slash", *"sim:new:granite-rapids", "enter")
        await pilot.pause()
        assert isinstance(app.screen, XstateLabScreen)
        assert "granite-rapids" in text_of(app)
        # Its bytes are no target that is to be read.
        await pilot.press("c", "o", "q", "q")
        await pilot.pause()
        assert isinstance(app.screen, StartScreen)
        await pilot.press("q")
        assert app._exit


async def said_in(app: StartApp, words: str) -> None:
    """A message has the words."""
    for _ in range(400):
        if any(words in message.message for message in app._notifications):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(words)


async def test_what_cannot_be_opened_is_said_and_the_list_stays() -> None:
    app = StartApp()
    async with app.run_test(size=(120, 24), notifications=True) as pilot:
        await opened(app, pilot)
        for word, said in (
            ("no/such.core", "no such file"),
            ("sim:gest-xfd", "did you mean guest-xfd"),
            ("-", "termin"),
        ):
            await pilot.press("colon", *word, "enter")
            await said_in(app, said)
            await pilot.pause()
            assert isinstance(app.screen, StartScreen)
        assert app.state_left().recent == []


def test_open_alone_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open"]) == 2
    assert "open needs a terminal" in capsys.readouterr().err
    assert main(["open", "--to", "milan"]) == 2
