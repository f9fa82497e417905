"""Commands that the documentation shows run as they are printed, and every command has one that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.capture.errors import InspectorError
from inspector.cli.main import COMMANDS, main
from inspector.cli.open import app_of, comparing
from inspector.tui.tour_app import TourApp
from tests.documents import Example, examples_of, live_examples

#: Pages whose commands run here, in the order of each page: a command may read what one before it wrote.
PAGES = ("README.md", "docs/index.md", "docs/guide.md", "docs/targets.md", "docs/logs.md", "docs/report.md")
#: Pages that say where a command has another exit code than 0.
WITH_CODES = ("README.md", "docs/report.md")
#: A core of the reader's own.
CORE = "core.1234"


def run(example: Example, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code. The terminal interface is made, but not run; nothing is served."""
    command, *words = example.words
    if command == "open":
        assert (comparing(words) if len(words) > 1 else app_of(words[0])) is not None
        return 0
    if command == "tour":
        assert TourApp().lab is not None
        return 0
    monkeypatch.setattr("inspector.tui.serve.serve", lambda *_: None)
    return main([command, *words])


def test_every_command_has_an_example_that_a_test_runs() -> None:
    examples = [one for page in PAGES for one in examples_of(page)]
    ran = {one.words[0] for one in [*examples, *live_examples()] if one.words}
    assert set(COMMANDS) - ran == set()


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = 0
    for example in examples_of(page):
        if example.needs or example.words[0] == "serve":
            continue
        try:
            code = run(example, monkeypatch)
        except (InspectorError, SystemExit) as error:
            raise AssertionError(example.text) from error
        said = capsys.readouterr().err
        # 1 is an answer: a difference, a finding, a refusal.
        expected = {example.exit_code} if page in WITH_CODES else {0, 1}
        assert code in expected, (example.text, said)
        ran += 1
    assert ran


def test_serve_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("textual_serve")
    monkeypatch.chdir(tmp_path)
    Path(CORE).write_bytes((Path(__file__).parents[2] / "samples/amx/process.core").read_bytes())
    served = [one for one in examples_of("docs/report.md") if one.words[0] == "serve"]
    assert served
    for example in served:
        assert run(example, monkeypatch) == 0, capsys.readouterr().err
