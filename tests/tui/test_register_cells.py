"""A register as cells, without a screen."""

from __future__ import annotations

from itertools import pairwise

import pytest

from inspector.machine.arm64.models.realize import places_of
from inspector.machine.arm64.models.workbench import Workbench
from inspector.tui.drawn import Drawn
from inspector.tui.register_cells import Cell, cell_lines, cells_of, legend, length_lines
from layouts.arm64.ids import AARCH64_IDS, PFR0
from layouts.arm64.properties import field_places
from tests.machine.arm64 import known_host

V1, N2 = Workbench(known_host("neoverse-v1")), Workbench(known_host("neoverse-n2"))
TWO = {"A": N2, "B": N2.on(known_host("neoverse-v1"))}


def texts(lines: list[Drawn]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


@pytest.mark.parametrize("width", [76, 118, 158])
def test_every_bit_of_every_register_is_drawn_once(width: int) -> None:
    for encoding in AARCH64_IDS:
        cells = cells_of({"A": N2}, encoding, (), frozenset())
        assert sum(cell.width for cell in cells) == 64
        assert all(one.lsb == other.lsb + other.width for one, other in pairwise(cells))
        for brief in (True, False):
            lines = texts(list(cell_lines(cells, width, brief=brief)))
            assert all(len(line) == width for line in lines), lines


def test_registers_of_nibbles_take_two_rows_at_80_columns_and_one_at_160() -> None:
    cells = cells_of({"A": V1}, PFR0, (), frozenset())
    assert len(list(cell_lines(cells, 78, brief=True))) == 4
    assert len(list(cell_lines(cells, 78, brief=False))) == 7
    assert len(list(cell_lines(cells, 158, brief=False))) == 4


def test_a_cell_says_who_has_what_and_who_may_write() -> None:
    sve2 = field_places()["ID_AA64ZFR0_EL1", "SVEver"]
    cells = {cell.name: cell for cell in cells_of(TWO, sve2.encoding, (sve2,), frozenset((sve2,)))}
    assert cells["SVEver"] == Cell("SVEver", 0, 4, 1, {"B": 0}, is_writable=True, blocks=True, is_selected=True)
    assert (cells["SVEver"].label, cells["SVEver"].text, cells["SVEver"].style) == ("▸SVEver", "✗1 B0", "bad")
    assert "An, Bn that host has n" in legend(list(cells.values()))
    place = field_places()["ID_AA64DFR0_EL1", "CTX_CMPs"]
    fixed = {cell.name: cell for cell in cells_of({"A": V1}, place.encoding, (), frozenset())}["CTX_CMPs"]
    assert fixed.text == "(1)"


def test_of_one_host_the_other_value_has_no_letter() -> None:
    bench = V1.with_word("feat_CSV3=off")
    cells = {cell.name: cell for cell in cells_of({"A": bench}, PFR0, (), frozenset())}
    assert cells["CSV3"].text == "0≠1"
    assert "≠n the host has n" in legend(list(cells.values()))


def test_fields_are_where_the_layout_has_them() -> None:
    for encoding in AARCH64_IDS:
        cells = {(cell.name, cell.lsb) for cell in cells_of({"A": V1}, encoding, (), frozenset()) if cell.name}
        assert cells == {(place.name, place.lsb) for place in places_of(encoding)}


def test_lengths_are_wrong_up_to_the_guests_longest() -> None:
    rows = {"host A": [True, True, True], "host B": [True, False, False], "guest": [True, True, False]}
    lines = texts(list(length_lines(rows, [128, 256, 512], 60)))
    assert lines[0].split() == ["bits", "128", "256", "512"]
    assert [line.split() for line in lines[1:]] == [
        ["host", "A", "●", "●", "●"],
        ["host", "B", "●", "·✗", "·"],
        ["guest", "●", "●", "·"],
    ]
    many = texts(list(length_lines({"guest": [True] * 16}, [128 * n for n in range(1, 17)], 60)))
    assert many[0].split()[:3] == ["bytes", "16", "32"]
    assert len(many[0]) <= 60
