"""What is remembered between runs, and the user's own keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from inspector.cli.main import main
from inspector.cli.open import app_of
from inspector.targets.samples import root
from inspector.tui import config, state, terminal
from inspector.tui.base_app import BaseApp
from inspector.tui.door import LabApp
from inspector.tui.picture import opened, text_of
from inspector.tui.screens.help import HelpScreen
from inspector.tui.state import Place, State
from inspector.tui.xstate_lab_session import XstateLabSession
from tests.machine.support import world


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(state.OFF, raising=False)


def write_config(text: str) -> None:
    config.config_file().parent.mkdir(parents=True, exist_ok=True)
    config.config_file().write_text(text)


def run(monkeypatch: pytest.MonkeyPatch, chosen: str = "", **options: bool) -> str:
    """A run in which a theme is chosen; the theme that it began with."""
    from inspector.targets.scenarios import scenario_of

    app = LabApp(XstateLabSession(world(), scenario_of("new")))
    seen: list[str] = []

    def shown(mouse: bool = True) -> None:
        seen.append(app.theme)
        app.theme = chosen or app.theme

    monkeypatch.setattr(app, "run", shown)
    monkeypatch.setattr("termios.tcgetattr", lambda _: [])
    terminal.run(app, **options)
    return seen[0]


def test_the_theme_of_the_last_run_is_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(monkeypatch)
    assert run(monkeypatch, "solarized-light") == first
    assert run(monkeypatch) == "solarized-light"
    assert [path.name for path in state.state_file().parent.iterdir()] == ["state.json"]


def test_nothing_is_remembered_where_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "solarized-light", has_state=False)
    assert not state.state_file().exists()
    monkeypatch.setenv(state.OFF, "1")
    run(monkeypatch, "solarized-light")
    assert not state.state_file().exists()
    monkeypatch.setenv(state.OFF, "0")
    run(monkeypatch, "solarized-light")
    assert state.load().theme == "solarized-light"
    assert run(monkeypatch, has_state=False) != "solarized-light"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff" * 5000,
        b"[" * 100_000,
        b"[]",
        b'{"theme": 3, "recent": [1, "a\\u0007", {}], "places": {"x": [1, 2], "y": ["p", true]}, "elements": []}',
        b'{"theme": "no such theme", "recent": "abc", "places": 1, "elements": {"vector": 7}}',
    ],
)
def test_a_damaged_file_is_as_none(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(monkeypatch)
    state.state_file().write_bytes(text)
    found = state.load()
    assert (found.recent, found.places, found.elements) == ([], {}, {})
    assert run(monkeypatch) == first


def test_where_nothing_can_be_kept_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    run(monkeypatch, "solarized-light")
    assert state.load().theme == ""


def test_two_runs_at_one_time_keep_what_both_opened(tmp_path: Path) -> None:
    one, other = State(), State()
    one.opened("sample:amx")
    one.left("sample:amx", Place("xsave.pkru.pkru", 1))
    other.opened("sim:guest-xfd")
    state.save(one)
    state.save(other)
    found = state.load()
    assert found.recent == ["sim:guest-xfd", "sample:amx"]
    assert found.places == {"sample:amx": Place("xsave.pkru.pkru", 1)}
    for number in range(300):
        found.opened(f"sim:{number}")
        found.left(f"sim:{number}", Place("a", 0))
    assert len(found.recent) == 20
    assert len(found.places) == 200
    found.opened("-")
    found.opened("a\n")
    assert found.recent[0] == "sim:299"


async def visit(target: str, kept: State, *pressed: str) -> tuple[str, str]:
    """A run on a target: where it begins, and what is on screen behind the keys."""
    app = app_of(target)
    app.take_state(kept, config.Config({}, "", ()))
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot)
        session = app.inspect.session  # type: ignore[attr-defined]
        field = session.field()
        begun = f"{session.vcpu_number} {field.path if field else ''} {sorted(session.elements.chosen.values())}"
        await pilot.press(*pressed)
        await pilot.pause()
        shown = text_of(app)
        app.exit()
    state.save(app.state_left())
    return begun, shown


async def test_a_file_opens_where_it_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.core"
    shutil.copy(Path(root(), "amx/process.core"), path)
    await visit(str(path), state.load(), "colon", *"tmm[1]", "enter", "e", "e")
    monkeypatch.chdir(tmp_path)
    begun, _ = await visit("one.core", state.load())
    assert begun == "0 xsave.xtiledata.tmm[1] ['bf16']"
    assert state.load().recent == [str(path)]
    # Another capture has other fields and fewer vCPUs: it begins as if it were new, with the element type.
    kept = state.load()
    kept.places[str(path)] = Place("xsave.no.such", 7)
    begun, _ = await visit("one.core", kept)
    assert begun.startswith("0  ")


async def test_the_first_run_names_the_keys_that_matter_once() -> None:
    app = app_of("sample:amx/process.core")
    app.take_state(state.load(), config.load())
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.pause(0.1)
        (toast,) = app.screen.query("Toast")
        assert "? all keys" in str(toast.render())
    state.save(app.state_left())
    assert state.load().has_seen_hint


# Keys of one's own


async def test_keys_by_their_ids() -> None:
    write_config(
        'theme = "solarized-light"\n[keys]\n"inspect.search" = "f3"\n"app.help" = ["?", "f1"]\n"app.up" = "Q"\n'
    )
    found = config.load()
    assert found.wrong == ()
    app = app_of("sample:amx/process.core")
    app.take_state(state.load(), found)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        assert app.theme == "solarized-light"
        await pilot.press("slash")
        assert "only" not in text_of(app)
        await pilot.press("f3", *"pkru", "enter")
        await pilot.pause()
        assert app.inspect.session.search_text == "pkru"  # type: ignore[attr-defined]
        await pilot.press("f1")
        await pilot.pause()
        assert "F3 n N" in text_of(app)
        await pilot.press("escape", "q")
        assert not app._exit
        await pilot.press("Q")
        assert app._exit


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theme = 'x'\n[[[", "config.toml: "),
        ("colour = 1", "nothing is called colour; "),
        ("theme = 1", "theme: expected a name in quotes, found 1"),
        ("keys = 1", "expected [keys] with lines of an id and a key"),
        ("[keys]\n'inspect.serch' = 'x'", "no key has the id inspect.serch; did you mean inspect.search"),
        ("[keys]\n'inspect.search' = 1", "inspect.search: expected a key in quotes, or a list of keys, found 1"),
        ("[keys]\n'inspect.search' = 'n'", "inspect.search: n is inspect.next on the inspect screen"),
        ("[keys]\n'inspect.search' = '?'", "inspect.search: question_mark is app.help on the inspect screen"),
        ("[keys]\n'line.up' = 'w'", "line.up: w is xstate.why on the xstate lab screen"),
        ("[keys]\n'xstate.xfd' = 'w'", "xstate.xfd: w is xstate.why on the xstate lab screen"),
        ("[keys]\n'xstate.xfd' = 'Space x'", "xstate.xfd: space x is xstate.xcr0 on the xstate lab screen"),
        ("[keys]\n'xstate.xfd' = 'g f'", "xstate.xfd: g f: two keys begin with Space (lab.leader)"),
        ("[keys]\n'inspect.search' = 'Space f'", "Space f: the inspect screen has no keys behind Space"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(text: str, said: str) -> None:
    write_config(text)
    found = config.load()
    (line,) = found.wrong
    assert said in line
    assert "\n" not in line
    assert found.keys == {}


async def test_an_event_has_its_bare_key_back_where_somebody_wants_it() -> None:
    write_config(
        '[keys]\n"xstate.xfd" = ["f", "Space F"]\n"lab.leader" = ","\n"xstate.permit" = "Space r"\n"xstate.run" = ", p"'
    )
    found = config.load()
    assert found.wrong == ()
    app = app_of("sim:guest-xfd")
    app.take_state(State(has_seen_hint=True), found)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press(*["n"] * 5)
        await pilot.pause()
        assert "f opens it" in text_of(app), "the drawn gates say the user's key"
        await pilot.press("f", "space", "comma", "F", "comma", "r", "comma", "p", "question_mark")
        await pilot.pause()
        session = app.lab.session  # type: ignore[attr-defined]
        assert [step.event for step in session.world.steps[5:]] == [
            "guest wrmsr XFD 0x0",
            "guest wrmsr XFD 0x40000",
            "arch_prctl REQ_XCOMP_GUEST_PERM 18",
            "KVM_RUN",
        ]
        assert isinstance(app.screen, HelpScreen)
        assert "  f , x F " in app.screen.text().plain


def test_keys_can_change_places() -> None:
    assert config.keymap_of({"inspect.next": "N", "inspect.previous": "n"})[1] == []


async def test_a_theme_that_is_none_is_said() -> None:
    app = BaseApp()
    app.take_state(State(has_seen_hint=True), config.Config({}, "solarised-light", ()))
    assert "did you mean solarized-light" in app._to_say[0]


def test_inspector_alone_at_no_terminal_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: inspector" in capsys.readouterr().out


def test_the_file_is_json_that_docs_tell_of(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch)
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    assert all(f"`{name}`" in guide for name in json.loads(state.state_file().read_text()))


@pytest.mark.parametrize(("system", "theme"), [("standard", "ansi-dark"), ("256", "textual-dark")])
def test_a_terminal_of_sixteen_colours_has_its_own(system: Literal["standard", "256"], theme: str) -> None:
    app = app_of("sample:amx")
    app.console = Console(color_system=system, force_terminal=True)
    app.take_state(State(), config.Config({}, "", ()))
    assert (app.theme, app.state_left().theme) == (theme, "")
    app.take_state(State(theme="nord"), config.Config({}, "", ()))
    assert app.theme == "nord"
