"""docs/tasks.md: each task with exactly the keys that stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from inspector.cli.open import app_of, comparing
from inspector.tui.key import written
from inspector.tui.picture import photograph
from tests.documents import ROOT

_NAMED = ("left", "right", "space", "enter", "escape", "tab", "ctrl+r")
_KEYS = {written(name): name for name in _NAMED}


class Task(NamedTuple):
    """A row of the page."""

    title: str
    targets: list[str]
    count: int
    keys: list[str]
    then: str


def tasks() -> list[Task]:
    """The rows of the page."""
    found = []
    for line in (ROOT / "docs/tasks.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 6 and cells[3].isdecimal():
            words = [word.replace(r"\|", "|") for word in re.findall(r"`([^`]+)`", cells[4])]
            keys = [key for word in words for key in ([_KEYS[word]] if word in _KEYS else word)]
            found.append(Task(cells[0], cells[1].strip("`").split(), int(cells[3]), keys, cells[5]))
    return found


def found_after(task: Task, keys: list[str]) -> str:
    """The screen, what was copied, and the files that there are, after these keys."""
    app = comparing(task.targets) if len(task.targets) > 1 else app_of(*task.targets)
    screen = photograph(app, (120, 35), keys, ["txt"])["txt"].decode()
    return "\n".join((screen, app.clipboard, *os.listdir()))


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.title)
def test_a_task_takes_the_keys_that_stand_there(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(task.keys) == task.count
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert task.then in found_after(task, task.keys)


def test_there_are_tasks() -> None:
    assert len(tasks()) >= 10
