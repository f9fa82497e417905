"""Random keys over all screens; ``make monkey`` presses a hundred thousand."""

from __future__ import annotations

import pytest

from inspector.tui import keys
from tests.monkey import PLACES, play


def test_keys_begin_on_every_screen() -> None:
    assert {place.screen for place in PLACES.values()} == set(keys.SCREENS)


@pytest.mark.parametrize("name", PLACES)
async def test_no_key_ends_the_program(name: str) -> None:
    assert await play(name, 1, 20) >= 20
