"""Every key is in the help of its screen, and every key of the help works there."""

from __future__ import annotations

import pytest
from textual.binding import Binding

from inspector.cli.open import app_of
from inspector.tui.base_app import BaseApp, KeyedScreen
from inspector.tui.picture import opened, text_of
from inspector.tui.screens.help import HelpScreen

#: Key names as the help writes them.
WRITTEN = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "space": "Space",
    "enter": "Enter",
    "escape": "Esc",
    "tab": "Tab",
    "shift+tab": "Shift-Tab",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "plus": "+",
    "minus": "-",
}
#: Keys that scroll any text of Textual's, and its own for copying: nothing of ours.
UPSTREAM = {"ctrl+c", "super+c", "ctrl+pageup", "ctrl+pagedown", "ctrl+home", "ctrl+end"}
SCREENS = {
    "inspect": ("sample:zen5-kvm", []),
    "compare": ("sample:zen5-kvm", ["c"]),
    "xstate lab": ("sim:guest-xfd", ["n"]),
    "timeline": ("sim:guest-xfd", ["n", "T"]),
    "id lab": ("model:neoverse-v1-v1:neoverse-v1", []),
    "bytes": ("sim:snapshot-einval", [*["n"] * 6, "o"]),
}


def written(key: str) -> str:
    word = key.removeprefix("ctrl+")
    return f"Ctrl-{word.upper()}" if word != key else WRITTEN.get(key, key)


async def keys_of(app: BaseApp, pilot) -> set[str]:
    """All keys that do something on the screen, with each pane focused."""
    found: set[str] = set()
    for widget in [*app.screen.focus_chain]:
        app.screen.set_focus(widget)
        await pilot.pause()
        found |= {key for key, active in app.screen.active_bindings.items() if active.enabled}
    return found


def own_bindings(screen: KeyedScreen) -> list[Binding]:
    """The bindings of ours: of the screen, of its panes, of the application."""
    nodes = [screen, screen.app, *screen.query("*")]
    classes = {kind for node in nodes for kind in type(node).__mro__ if kind.__module__.startswith("inspector.tui")}
    return [binding for kind in classes for binding in vars(kind).get("BINDINGS", ()) if binding.id != "prompt.cancel"]


@pytest.mark.parametrize("name", SCREENS)
async def test_help_and_bindings_say_the_same(name: str) -> None:
    target, keys = SCREENS[name]
    app = app_of(target)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot)
        await pilot.press(*keys)
        await pilot.pause()
        assert isinstance(app.screen, KeyedScreen)
        bound = {written(key) for key in await keys_of(app, pilot) - UPSTREAM}
        bindings = own_bindings(app.screen)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        told = {word for _, lines in app.screen.KEYS for key, _ in lines for word in key.split()}
        assert told <= bound, "keys of the help that do nothing"
        for binding in bindings:
            assert {written(key) for key in binding.key.split(",")} & told, f"{binding.id} is not in the help"
        await pilot.press("q")
        assert isinstance(app.screen, KeyedScreen)


async def test_the_footer_offers_both_labs_and_compare() -> None:
    app = app_of("sample:zen5-kvm")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        last = text_of(app).splitlines()[-1]
        for word in ("L Lab", "c Compare", "q Quit", "? Help"):
            assert word in last


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("sample:zen5-kvm", ["c"]),
        ("sample:amx", ["L"]),
        ("sample:arm64-kvm/max-linux-7.2.13.regs", ["L"]),
        ("sim:snapshot-einval", ["n", "T"]),
        ("sim:snapshot-einval", [*["n"] * 6, "o"]),
        ("model:neoverse-v1-v1:neoverse-v1", ["o"]),
        ("sample:amx", ["question_mark"]),
    ],
)
async def test_q_is_one_level_up(target: str, keys: list[str]) -> None:
    app = app_of(target)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot)
        below = app.screen
        await pilot.press(*keys)
        await pilot.pause()
        assert app.screen is not below
        await pilot.press("q")
        await pilot.pause()
        assert app.screen is below
        assert not app._exit
        await pilot.press("q")
        assert app._exit


async def test_a_filter_that_matches_nothing_says_nothing_of_agreement() -> None:
    app = app_of("sample:zen5-kvm")
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot)
        await pilot.press("c", "d", "slash", *"xyzzy", "enter")
        await pilot.pause()
        assert "no path has it" in text_of(app)
        assert "agree" not in text_of(app)
