"""Every key is in the help of its screen, and every key of the help works there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from inspector.cli.open import app_of
from inspector.tui import fleet_keys, keys, lab_keys, migration_keys
from inspector.tui.base_app import BaseApp, KeyedScreen
from inspector.tui.key import keys_of, written
from inspector.tui.marks import MARKS
from inspector.tui.picture import opened, text_of
from inspector.tui.screens.help import HelpScreen
from inspector.tui.screens.xstate_lab import XstateLabScreen
from inspector.tui.start import StartApp
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.outcome_pane import OutcomePane
from inspector.tui.widgets.prompt import Prompt
from tests.fleet.fleets import small

TUI = Path(keys.__file__).parent

#: Every screen, and how one comes to it: from another one, for Esc and q to go back there.
SCREENS = {
    "start": ("", []),
    "inspect": ("sample:zen5-kvm", []),
    "simulated": ("sim:snapshot-einval", [*["n"] * 6, "o"]),
    "compare": ("sample:zen5-kvm", ["c"]),
    "edits": ("sample:amx/process.core", ["colon", *"mxcsr", "enter", "enter", *"0x1fa0", "enter", "v"]),
    "field": ("sample:zen5-kvm", ["c", "n", "enter"]),
    "findings": ("sample:zen5-kvm", ["exclamation_mark"]),
    "migration": ("sample:amx", ["M", *"milan@6.18", "enter"]),
    "calls": ("sample:logs/refused-cpuid.strace.txt", []),
    "fleet": ("fleet:", ["j", "enter"]),
    "xstate lab": ("sample:amx", ["L", "n"]),
    "arm64 lab": ("sample:arm64-kvm/max-linux-7.2.13.regs", ["P", "n", "n"]),
    "id lab": ("sample:arm64-kvm/max-linux-7.2.13.regs", ["L"]),
    "timeline": ("sim:guest-xfd", ["n", "n", "T"]),
    "against": ("sim:guest-xfd", ["n", "n", "n", "A", *"rfc", "enter"]),
}


@pytest.fixture(scope="module", autouse=True)
def fleet(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No store of a fleet comes with the tool."""
    SCREENS["fleet"] = (small(tmp_path_factory.mktemp("fleet")), SCREENS["fleet"][1])


def our_keys(screen: KeyedScreen) -> dict[str, str]:
    """The keys of ours that do something now: key -> the binding's id. Textual's own have none."""
    return {
        key: active.binding.id
        for key, active in screen.active_bindings.items()
        if active.enabled and active.binding.id is not None
    }


@asynccontextmanager
async def shown(name: str) -> AsyncIterator[tuple[BaseApp, Pilot[int]]]:
    """An application at one of the screens."""
    target, pressed = SCREENS[name]
    app = app_of(target) if target else StartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        for key in pressed:
            await pilot.press(key)
        await pilot.pause()
        assert isinstance(app.screen, KeyedScreen)
        assert app.screen.keys_name == name
        yield app, pilot


def test_every_screen_has_a_table_marks_and_a_test() -> None:
    assert set(keys.SCREENS) == set(MARKS) == set(SCREENS)


def test_every_binding_is_made_from_the_table() -> None:
    """No screen or pane declares a key of its own."""
    for path in TUI.rglob("*.py"):
        assert path.name == "key.py" or "Binding(" not in path.read_text(), path


def test_no_key_of_a_table_has_two_meanings() -> None:
    """But for those of panes, which are about the pane that has the focus, and q."""
    own = {
        "start": keys.START,
        "inspect": keys.INSPECT,
        "compare": keys.COMPARE,
        "edits": keys.EDITS,
        "findings": keys.FINDINGS,
        "migration": migration_keys.MIGRATION,
        "calls": keys.CALLS,
        "fleet": fleet_keys.FLEET,
        "xstate lab": lab_keys.XSTATE_LAB,
        "arm64 lab": lab_keys.ARM64_LAB,
        "id lab": lab_keys.ID_LAB,
        "timeline": lab_keys.TIMELINE,
        "against": lab_keys.AGAINST,
    }
    for name, table in own.items():
        pressed = [key for one, _ in keys_of(table) for key in one.keys.split(",")]
        program = [key for one, _ in keys_of(keys.PROGRAM) for key in one.keys.split(",")]
        assert len(pressed) == len(set(pressed)), name
        assert not set(pressed) & set(program), name


@pytest.mark.parametrize("name", SCREENS)
async def test_help_and_bindings_say_the_same(name: str) -> None:
    """And the line of keys says Quit only where q quits."""
    async with shown(name) as (app, pilot):
        screen, bound = app.screen, set()
        assert isinstance(screen, KeyedScreen)
        for widget in [*screen.focus_chain]:
            screen.set_focus(widget)
            bound |= {word for key in our_keys(screen) for word in written(key).split()}
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = app.screen.text().plain
        lines = [line for group in keys.help_of(name) for line in group.lines]
        assert {word for line in lines for word in line.written.split()} == bound
        assert all(line.written in text for line in lines)
        await pilot.press("question_mark")
        await pilot.pause()
        assert app.screen is screen
        last, lowest = text_of(app).splitlines()[-1], len(app.screen_stack) == 1
        assert ("q Quit" in last, "q Back" in last) == (lowest, not lowest)


@pytest.mark.parametrize("name", SCREENS)
async def test_every_line_of_the_help_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key of each is pressed, with a pane focused that has it; whatever it opened is closed again."""
    left: list[str] = []
    monkeypatch.setattr("inspector.tui.picture.save_pictures", lambda _app: left.append("picture") or ["x.svg"])
    monkeypatch.setattr("inspector.export.files.save_new", lambda *_: left.append("saved"))
    async with shown(name) as (app, pilot):
        screen = app.screen
        monkeypatch.setattr(app, "_may_close", lambda _: True)
        monkeypatch.setattr(app, "exit", lambda *_, **__: left.append("exit"))
        monkeypatch.setattr(screen, "dismiss", lambda *_: left.append("back"))
        to_press = {one.id: one.keys.partition(",")[0] for one, _ in keys_of(keys.help_of(name))}
        # On the lowest screen q leaves the program, on the others it goes back.
        del to_press["app.up" if len(app.screen_stack) == 1 else "app.leave"]
        for widget in [*screen.focus_chain]:
            screen.set_focus(widget)
            here = our_keys(screen)
            for name_of_key in [name for name, key in to_press.items() if here.get(key) == name]:
                screen.set_focus(widget)
                await pilot.press(*to_press.pop(name_of_key).split())
                assert not app.failure, name_of_key
                while app.screen is not screen:
                    app.pop_screen()
                for prompt in screen.query(Prompt):
                    prompt.close()
        assert not to_press
        assert {"picture", "exit"} <= {*left}


async def test_the_palette_explains_every_key_once() -> None:
    app = app_of("sample:zen5-kvm")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        commands = {}
        for command in app.get_system_commands(app.screen):
            assert command.title not in commands
            commands[command.title] = command.help
        assert commands["Lab"] == "the lab: what would KVM and Linux say to this vCPU (L)"
        assert commands["Undo"] == "undo, redo (u)"
        assert "Copy selected text" not in commands


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
        await pilot.press("c", "slash", *"xyzzy", "enter")
        await pilot.pause()
        assert "no field matches 'xyzzy'" in text_of(app)
        assert "no field differs" not in text_of(app)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
@pytest.mark.parametrize("target", ["sim:guest-xfd", "model:neoverse-v1-v1:neoverse-v1"])
async def test_a_message_does_not_cover_the_outcome(target: str, size: tuple[int, int]) -> None:
    app = app_of(target)
    async with app.run_test(size=size, notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("u")
        await pilot.pause(0.2)
        (toast,) = app.screen.query("Toast")
        outcome = app.screen.query_one(OutcomePane)
        assert toast.region.height
        assert toast.region.bottom <= 4
        if not app.screen.has_class("wide"):
            assert not toast.region.overlaps(outcome.region)


async def test_a_key_of_the_key_line_can_be_clicked_and_says_what_it_does() -> None:
    app = app_of("sample:zen5-kvm")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        line = app.screen.query_one(KeyLine)
        x = text_of(app).splitlines()[-1].index("L Lab")
        await pilot.hover(line, offset=(x + 4, 0))
        assert line.tooltip == "the lab: what would KVM and Linux say to this vCPU"
        await pilot.hover(line, offset=(x - 1, 0))
        assert line.tooltip is None
        below = app.screen
        await pilot.click(line, offset=(x - 1, 0))
        assert app.screen is below
        await pilot.click(line, offset=(x + 4, 0))
        await pilot.pause()
        assert isinstance(app.screen, XstateLabScreen)


@pytest.mark.parametrize("columns", [40, 80, 120, 160, 220])
async def test_the_key_line_cuts_no_key_and_fills_its_width(columns: int) -> None:
    app = app_of("sample:zen5-kvm")
    async with app.run_test(size=(columns, 24)) as pilot:
        await opened(app, pilot)
        line = app.screen.query_one(KeyLine)
        shown = line.render().plain.rstrip()
        assert len(shown) <= columns
        assert shown.endswith("q Quit ? Help")
        left = [one for one in line.keys if f"{one.written} {one.description}" not in shown]
        assert not left or len(shown) + left[0].width > columns
