"""The timeline as swim lanes, without a screen."""

from __future__ import annotations

import errno
from copy import copy

import pytest

from inspector.tui.drawn import Drawn
from inspector.tui.lanes import LEAST_WIDTH, coming_line, lane_names, lanes_heading, lanes_line, path_lines
from tests.machine.support import played, step_of


def text_of(drawn: Drawn) -> str:
    return "".join(piece.text for piece in drawn)


@pytest.mark.parametrize("width", [LEAST_WIDTH, 78, 100, 118, 158, 218])
def test_lines_stand_below_their_names(width: int) -> None:
    steps = played("guest-xfd").steps
    heading = text_of(lanes_heading(width))
    for number, step in enumerate(steps, 1):
        line = text_of(lanes_line(step, number, width))
        assert len(line) == len(heading) <= width, line
    at = heading.index("VMM") + 1
    assert text_of(lanes_line(steps[0], 1, width))[at] == "●"
    assert text_of(coming_line("KVM_RUN", 9, width))[at] == "│"
    assert lane_names(width, "─")[at] == "M"


def test_what_lanes_do_not_need_the_event_has() -> None:
    steps = played("guest-xfd").steps
    for width in (78, 108, 118, 158, 218):
        line = text_of(lanes_line(steps[0], 1, width))
        assert ("arch_prctl REQ_XCOMP_GUEST_PERM 18" in line) == (width > 78), line
    refused = copy(steps[0])
    refused.outcome = refused.outcome._replace(verdict="errno", code=errno.EOPNOTSUPP)
    assert text_of(lanes_line(refused, 1, LEAST_WIDTH)).endswith("✗ EOPNOTSUPP  ")


def test_a_refused_event_is_drawn_as_such() -> None:
    step = step_of(played("guest-xfd"), "guest tileloadd")
    drawn = lanes_line(step, 7, 78)
    assert "◀─────┼─────●" in text_of(drawn)
    assert [piece.style for piece in drawn if "#NM" in piece.text] == ["bad"]
    assert text_of(path_lines(step, 78)[-1]).endswith("→ #NM")
