"""The manual page says what the parsers say, and roff has nothing to say of it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from docs.make_man import PAGE, page
from inspector.cli.main import COMMANDS


def test_the_page_is_what_the_parsers_say() -> None:
    """``make man`` writes it."""
    text = PAGE.read_text("utf-8")
    assert text == page()
    for command in COMMANDS:
        assert f"inspector {command}" in text
    assert text.isascii()


@pytest.mark.parametrize(
    "words",
    [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-man", "-ww", "-Tutf8", "-z"]],
    ids=lambda words: words[0],
)
def test_roff_has_nothing_to_say(words: list[str]) -> None:
    program = shutil.which(words[0])
    if program is None:
        pytest.skip(f"no {words[0]} here")
    done = subprocess.run([program, *words[1:], str(PAGE)], capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr).strip() == ""
