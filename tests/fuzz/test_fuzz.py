"""A short round of every reader, and the loop itself."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from tests.fuzz import loop
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS, Target, run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("reader", TARGETS)
def test_a_round(reader: str, tmp_path: Path) -> None:
    """Inputs of a fixed seed. What fails is kept in the test's folder."""
    done = loop.fuzz(reader, 20, count=120)
    assert done.inputs == 120
    assert not [(failure.name, loop.save(failure, tmp_path), failure.report) for failure in done.failures]


@pytest.mark.parametrize("reader", TARGETS)
def test_seeds_open(reader: str) -> None:
    """A seed that is refused tests little: at most one of a reader is a stump."""
    target = TARGETS[reader]
    wrap = target.wrap or bytes
    opened = [target.run(wrap(data)) for data in target.seeds()]
    assert any(opened)
    assert sum(opened) >= len(opened) - 1


def test_mutations_are_those_of_the_seed() -> None:
    data = b'{"a": [1, 2, {"b": "c"}]}'
    first, second = ([mutate(random.Random(n), data, [data]) for n in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 40


def _raises(error: BaseException) -> Target:
    def fail(data: bytes) -> bool:
        if data != b"seed":
            raise error
        return True

    return Target(lambda: [b"seed"], run=fail)


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), AssertionError("y"), InputError("f", "a", "b")])
def test_the_loop_keeps_what_fails(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also an InputError: the entry takes those of reading, and later ones come too late for the user."""
    monkeypatch.setitem(TARGETS, "broken", _raises(error))
    (failure,) = loop.fuzz("broken", 1, count=5).failures
    path = loop.save(failure, tmp_path)
    assert path.read_bytes() == failure.data
    assert type(error).__name__ in path.name
    assert "Traceback" in path.with_name(path.name + ".txt").read_text()


@pytest.mark.parametrize(("limit", "step"), [("ALARM_SECONDS", 0.0), ("_HANGS_SECONDS", 30.0)])
def test_the_loop_ends_what_works_or_waits_too_long(limit: str, step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_data: bytes) -> bool:
        try:
            while True:
                time.sleep(step)
        except Exception:
            return True

    monkeypatch.setattr(loop, limit, 0.1)
    monkeypatch.setitem(TARGETS, "hanging", Target(lambda: [b"seed"], run=hang))
    (failure,) = loop.fuzz("hanging", 1, count=1).failures
    assert failure.name.startswith("hanging-Alarm")


def test_the_entry_is_that_of_files() -> None:
    assert run((ROOT / "samples/amx/process.core").read_bytes())
    assert not run(b"nothing known")


def test_command(tmp_path: Path) -> None:
    words = ["--reader", "qmp", "--count", "50", "--failures", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "qmp" in done.stdout
    assert "50 inputs" in done.stdout
