"""Drive the application without a terminal, and compare what it paints with a golden text."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from textual import events
from textual.app import App
from textual.pilot import Pilot

from inspector.readers.options import Options
from inspector.tui.app import InspectorApp
from inspector.tui.picture import opened, text_of
from inspector.tui.session import Session

GOLDENS = Path(__file__).parent / "goldens"
_PATIENCE_SECONDS = 10


@asynccontextmanager
async def running(
    target: str = "sample:amx/process.core", size: tuple[int, int] = (80, 24), options: Options | None = None
) -> AsyncIterator[tuple[InspectorApp, Pilot[int]]]:
    app = InspectorApp(target, options)
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        yield app, pilot


def session_of(app: InspectorApp) -> Session:
    session = app.inspect.session
    assert session is not None
    return session


def behind(*letters: str) -> list[str]:
    """Keys of events: each behind the leader."""
    return [key for letter in letters for key in ("space", letter)]


async def type_line(pilot: Pilot[int], key: str, text: str) -> None:
    """Open a prompt, type a line as fast as a terminal brings it, press Enter."""
    await pilot.press(key)
    for character in text:
        pilot.app.post_message(events.Key(character, character))
    await pilot.press("enter")
    await pilot.pause()


async def golden(app: App[int], name: str) -> None:
    """What is on screen is what it was; UPDATE_GOLDENS=1 takes it as the new golden.

    On a loaded machine the last message may still be under way, so the screen gets a while.
    """
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(exist_ok=True)
        await asyncio.sleep(1)
        path.write_text(_shown(app))
    expected = path.read_text()
    until = monotonic() + _PATIENCE_SECONDS
    while _shown(app) != expected and monotonic() < until:
        await asyncio.sleep(0.05)
    assert _shown(app) == expected


async def shows(app: App[int], words: str) -> None:
    """The words come on screen."""
    until = monotonic() + _PATIENCE_SECONDS
    while words not in text_of(app) and monotonic() < until:
        await asyncio.sleep(0.05)
    assert words in text_of(app)


def _shown(app: App[int]) -> str:
    return "\n".join(text_of(app).splitlines()) + "\n"
