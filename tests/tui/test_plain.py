"""ASCII for terminals and streams that have nothing else."""

from __future__ import annotations

import io
import sys

import pytest
from rich.cells import cell_len

from inspector.capture.plain import plain, wants_ascii
from inspector.cli.main import main
from inspector.cli.open import app_of
from inspector.tui.picture import opened, text_of

_SIGNS = "▸▾●○◐╳━┄█▒░≠…✓✗→←↑↓·≈◂│┌┘─▇⏎¦"


def test_each_sign_becomes_one_that_is_as_wide() -> None:
    assert plain(_SIGNS).isascii()
    assert len(plain(_SIGNS)) == len(_SIGNS)
    assert plain("▸ ≠ ✗ → …") == "> # x > ~"
    assert plain("é 漢 ¿") == "e ?? ?"
    assert all(len(plain(letter)) == cell_len(letter) for letter in "漢é…ü")
    # Marks that stand side by side stay different.
    assert len({plain(sign) for sign in "✓✗~?"}) == 4
    assert len({plain(sign) for sign in "●○◐·"}) == 4
    assert len({plain(sign) for sign in "█▒░"}) == 3


@pytest.mark.parametrize(
    ("wanted", "environment"),
    [
        (True, {"TERM": "linux", "LANG": "de_DE.UTF-8"}),
        (True, {"LANG": "C"}),
        (True, {"LANG": "POSIX", "LC_CTYPE": "C.UTF-8"}),
        (True, {"LANG": "de_DE.UTF-8", "LC_ALL": "C"}),
        (True, {"LANG": "de_DE.ISO-8859-1"}),
        (True, {"LANG": "de_DE.UTF-8", "INSPECTOR_ASCII": "1"}),
        (False, {"LANG": "C", "INSPECTOR_ASCII": "0"}),
        (False, {"LANG": "C.UTF-8", "TERM": "xterm-256color"}),
        (False, {"LANG": "de_DE.utf8@euro"}),
        (False, {"LANG": "de_DE"}),
        (False, {"LC_CTYPE": "C.UTF-8"}),
        (False, {}),
    ],
)
def test_who_has_ascii_alone(wanted: bool, environment: dict[str, str]) -> None:
    assert wants_ascii(environment) is wanted


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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_stream_cannot_carry(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["show", "sample:amx"]) == 0
    out.flush()
    text = out.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"\\u" not in text
    assert b"~" in text
