"""Random keys over all screens; ``make monkey`` presses a hundred thousand."""

from __future__ import annotations

import pytest

from tests.monkey import TARGETS, play


@pytest.mark.parametrize("target", TARGETS)
async def test_no_key_ends_the_program(target: str) -> None:
    assert await play(target, 1, 40) >= 40
