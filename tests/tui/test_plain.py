"""Screens for terminals that have ASCII alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from inspector import tui
from inspector.capture.plain import plain
from inspector.cli.open import app_of
from inspector.tui.picture import opened, text_of


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("sim:guest-xfd", ["n", "n"]),
        ("sample:zen5-threads/xcore.core.gz", ["c"]),
        ("sample:amx", ["M", *"milan@6.18", "enter"]),
    ],
)
async def test_a_screen_in_ascii_is_the_same_screen(target: str, keys: list[str]) -> None:
    shown = []
    for is_plain in (False, True):
        app = app_of(target)
        app.is_plain = is_plain
        async with app.run_test(size=(120, 40)) as pilot:
            await opened(app, pilot)
            await pilot.press(*keys)
            await pilot.pause()
            shown.append(text_of(app))
    before, after = shown
    assert not before.isascii()
    assert after.isascii()
    assert [len(line) for line in after.splitlines()] == [cell_len(line) for line in before.splitlines()]


def test_every_sign_of_ours_has_a_stand_in() -> None:
    signs = {letter for file in Path(tui.__path__[0]).rglob("*.py") for letter in file.read_text() if ord(letter) > 127}
    assert [letter for letter in signs if plain(letter) == "?"] == []
