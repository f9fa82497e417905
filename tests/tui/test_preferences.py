"""The theme is remembered between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.tui import preferences, terminal
from inspector.tui.door import LabApp
from inspector.tui.xstate_lab_session import XstateLabSession
from tests.machine.support import world


def run(monkeypatch: pytest.MonkeyPatch, chosen: str = "") -> str:
    """A run in which a theme is chosen; the theme that it began with."""
    from inspector.targets.scenarios import scenario_of

    app = LabApp(XstateLabSession(world(), scenario_of("new")))
    seen: list[str] = []

    def shown(mouse: bool = True) -> None:
        seen.append(app.theme)
        app.theme = chosen or app.theme

    monkeypatch.setattr(app, "run", shown)
    monkeypatch.setattr("termios.tcgetattr", lambda _: [])
    terminal.run(app)
    return seen[0]


def test_the_theme_of_the_last_run_is_the_next_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = run(monkeypatch)
    assert list(tmp_path.iterdir()) == [], "nothing was chosen"
    assert run(monkeypatch, "solarized-light") == first
    assert run(monkeypatch) == "solarized-light"
    assert [path.name for path in (tmp_path / "inspector").iterdir()] == ["theme"]


@pytest.mark.parametrize("text", [b"", b"no such theme", b"\xff" * 5000])
def test_a_file_that_names_no_theme_is_passed_over(
    text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = run(monkeypatch)
    (tmp_path / "inspector").mkdir()
    preferences.theme_file().write_bytes(text)
    assert run(monkeypatch) == first


def test_where_nothing_can_be_kept_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "inspector").write_text("a file, no folder")
    run(monkeypatch, "solarized-light")
    assert preferences.remembered_theme() == ""
