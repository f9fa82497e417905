"""The guides by job: every command of theirs runs, and prints what stands there."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from inspector.cli import arguments
from inspector.cli.main import main
from inspector.cli.open import add_destination, app_of, migrating
from tests.documents import ROOT

GUIDES = (
    "sigill",
    "snapshot-einval",
    "arm64-will-not-migrate",
    "cpu-model-design",
    "reviewing",
    "filing-a-bug",
    "arm64-machine",
    "cpu-models",
)
_COMMAND = re.compile(r"^    \$ (inspector .*)\n((?:    (?!\$ ).*\n)*)", re.MULTILINE)


def told(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints; the terminal interface is made, but not run."""
    words = shlex.split(command)[1:]
    if words[0] == "open":
        assert ("--to" in words and migrating_of(words)) or app_of(words[1])
        return ""
    assert main(words) in (0, 1), command
    return capsys.readouterr().out


def migrating_of(words: list[str]) -> object:
    """The application of ``open SRC --to DST``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    add_destination(parser)
    found = parser.parse_args(words[1:])
    return migrating(found, [found.target], arguments.TOLD)


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_shows_is_what_is_printed(
    guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``...`` stands for lines that are left out, and at the end of a line for its rest."""
    text = (ROOT / f"docs/{guide}.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    examples = _COMMAND.findall(text)
    assert examples
    for command, output in examples:
        rest, is_next = told(command, capsys).splitlines(), True
        for line in output.splitlines():
            wanted = line[4:]
            if wanted.strip() == "...":
                is_next = False
                continue
            fitting = [number for number, one in enumerate(rest) if fits(one, wanted)]
            assert fitting, (command, wanted)
            assert fitting[0] == 0 or not is_next, (command, rest[0])
            rest, is_next = rest[fitting[0] + 1 :], True
        assert not rest or not is_next or not output, (command, rest[0])


def fits(line: str, wanted: str) -> bool:
    """The line, or its beginning where the page leaves out its end."""
    return line == wanted or (wanted.endswith("...") and line.startswith(wanted[:-3].rstrip()))
