"""docs/x86-migration.md: every command on it prints what stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from inspector.cli.main import main

PAGE = Path(__file__).parents[2] / "docs/x86-migration.md"
EXAMPLES = re.findall(r"^    \$ (inspector .*)\n((?:    (?!\$ ).*\n)+)", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_examples_print_what_stands_there(command: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(shlex.split(command)[1:])
    said = capsys.readouterr().out.splitlines()
    wanted = [line[4:] for line in output.splitlines()]
    if wanted[-1] == "...":
        wanted.pop()
        assert len(said) > len(wanted)
        said = said[: len(wanted)]
    assert said == wanted


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 5
