"""Random keys over all screens; ``make monkey`` presses a hundred thousand."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from inspector.tui import keys
from tests import monkey
from tests.monkey import PLACES, play


def test_keys_begin_on_every_screen() -> None:
    assert {place.screen for place in PLACES.values()} == set(keys.SCREENS)


@pytest.mark.parametrize("name", PLACES)
async def test_no_key_ends_the_program(name: str) -> None:
    assert await play(name, 1, 20) >= 20


def test_an_interrupted_round_tells_what_was_pressed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def held(name: str, seed: int, count: int, seen: Counter[str]) -> int:
        seen["start"] += 4_990
        if seen.total() > 10_000:
            raise KeyboardInterrupt
        return count

    monkeypatch.setattr(monkey, "play", held)
    monkeypatch.setattr(sys, "argv", ["monkey"])
    with pytest.raises(SystemExit) as ended:
        monkey.main()
    assert ended.value.code == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" in ")[0] for line in told] == ["9980 keys", "interrupted", "  14970 start", "14970 keys"]
