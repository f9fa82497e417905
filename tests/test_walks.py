"""The walks of docs/architecture.md are walked: every function that one names is called, in this order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.walked import MARK, WALKED

ROOT = Path(__file__).parents[1]


def walks() -> dict[str, list[str]]:
    """The functions that each walk names, by its heading."""
    text = (ROOT / "docs/architecture.md").read_text().partition("## Five walks")[2].partition("\n## ")[0]
    found = {}
    for part in text.split("\n### ")[1:]:
        names = []
        for path, functions in re.findall(r"^\d+\. `([\w/]+\.py)` ((?:`[\w.]+`(?:, )?)+)", part, re.MULTILINE):
            names += [f"{path}:{function}" for function in re.findall(r"`([\w.]+)`", functions)]
        assert len(re.findall(r"^\d+\. ", part, re.MULTILINE)) > 5
        found[part.partition("\n")[0]] = names
    return found


def test_every_walk_is_walked() -> None:
    assert set(walks()) == set(WALKED)


@pytest.mark.parametrize("name", WALKED)
def test_a_walk_goes_as_the_page_says(name: str) -> None:
    command = [sys.executable, "-m", "tests.walked", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    called = done.stdout.partition(MARK)[2].split()
    at = 0
    for wanted in walks()[name]:
        assert wanted in called, f"{wanted} is not called"
        assert wanted in called[at:], f"{wanted} is not called behind {called[at - 1]}"
        at = called.index(wanted, at) + 1


def test_every_room_is_on_the_page() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rooms = [path.parent for package in ("inspector", "layouts") for path in ROOT.glob(f"{package}/**/__init__.py")]
    assert len(rooms) > 25
    for room in rooms:
        name = room.relative_to(ROOT).as_posix()
        assert f"{name}/`" in page or f"`{room.name}/" in page or name == "inspector", name
