"""docs/fleet.md: every command on it prints what stands there, one after the other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from inspector.cli.main import main

PAGE = Path(__file__).parents[2] / "docs/fleet.md"
EXAMPLES = re.findall(r"^    \$ (inspector .*)\n((?:    (?!\$ ).*\n)+)", PAGE.read_text("utf-8"), re.MULTILINE)


def test_examples_print_what_stands_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) >= 5
    for command, output in EXAMPLES:
        main(shlex.split(command)[1:])
        said = capsys.readouterr().out.splitlines()
        wanted = [line[4:] for line in output.splitlines()]
        if wanted[-1] == "...":
            wanted.pop()
            assert len(said) > len(wanted)
            said = said[: len(wanted)]
        assert said == wanted, command
