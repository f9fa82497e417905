"""docs/logs.md: what its examples print is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from inspector.cli.main import main

PAGE = Path(__file__).parents[2] / "docs/logs.md"
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
EXAMPLES = [example.split("\n") for block in BLOCKS for example in re.split(r"(?m)^\$ ", block)[1:]]


@pytest.mark.parametrize("lines", EXAMPLES, ids=lambda lines: lines[0])
def test_an_example_prints_its_lines(lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command, *wanted = lines
    assert main(shlex.split(command)[1:]) in (0, 1)
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    for line in filter(None, wanted):
        assert line in printed
