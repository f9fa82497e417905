"""Drive the application without a terminal, and compare what it paints with a golden text."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from inspector.readers.options import Options
from inspector.tui.app import InspectorApp
from inspector.tui.picture import opened, text_of
from inspector.tui.session import Session

GOLDENS = Path(__file__).parent / "goldens"


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


async def type_line(pilot: Pilot[int], key: str, text: str) -> None:
    """Open a prompt, type a line, press Enter."""
    await pilot.press(key)
    await pilot.press(*text)
    await pilot.press("enter")
    await pilot.pause()


def golden(app: InspectorApp, name: str) -> None:
    """What is on screen is what it was; UPDATE_GOLDENS=1 takes it as the new golden."""
    path = GOLDENS / f"{name}.txt"
    samples = str(Path(__file__).parents[2] / "samples")
    shown = "\n".join(
        line.split(samples)[0] + ("SAMPLES" if samples in line else "") for line in text_of(app).splitlines()
    )
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown + "\n")
    assert shown + "\n" == path.read_text()
