"""As what vectors and tiles are read, and how they are drawn."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from inspector.decode.fields import FieldTable
from inspector.decode.values import BY_NAME
from inspector.targets.schemes import capture_of
from inspector.tui.elements import Elements, guessed, used_bytes
from inspector.tui.matrix_text import grid, mark_of, matrix, odd_text, overview


def packed(name: str, numbers: Sequence[float]) -> bytes:
    if name == "bf16":
        return b"".join(struct.pack("<f", number)[2:] for number in numbers)
    return struct.pack(f"<{len(numbers)}{BY_NAME[name].code}", *numbers)


ROUND = [1.0, -2.5, 0.0, 3.0, 100.0, -0.125, 7.0, 64.0]
ODD = [0.1, -3.14159, 2.71828, 1 / 3, 12345.678, -0.007, 1e3 / 7, 9.81]


@pytest.mark.parametrize("is_tile", [True, False])
@pytest.mark.parametrize(("name", "numbers"), [("f32", ROUND), ("f32", ODD), ("bf16", ROUND), ("bf16", ODD)])
def test_floats_are_recognised_by_their_values(name: str, numbers: list[float], *, is_tile: bool) -> None:
    assert guessed(packed(name, numbers) * 4, is_tile=is_tile).name == name


@pytest.mark.parametrize("numbers", [ROUND, ODD])
def test_doubles_are_recognised_in_vectors(numbers: list[float]) -> None:
    assert guessed(packed("f64", numbers), is_tile=False).name == "f64"


def test_integers_are_bytes_in_operands_and_words_in_sums() -> None:
    bytes_ = bytes((37 * n + n * n // 5) % 256 for n in range(1024))
    assert guessed(bytes_, is_tile=True).name == "i8"
    assert guessed(bytes_, is_tile=False).name == "x32"
    assert guessed(packed("i32", [-1200, 34, 56000, 7, 0, -9, 123456, 1]), is_tile=True).name == "i32"


def test_what_is_zero_has_the_kinds_own_type() -> None:
    assert guessed(bytes(64), is_tile=True).name == "i8"
    assert guessed(bytes(64), is_tile=False).name == "x32"


def test_a_choice_is_remembered_for_registers_of_the_kind() -> None:
    area = next(area for area in capture_of("sample:amx/process.core").vcpus[0].areas if area.prefix == "xsave")
    table, elements = FieldTable(area), Elements()
    one, other, vector = (
        table.decode(table.find(path)[0])
        for path in ("xsave.xtiledata.tmm[1]", "xsave.xtiledata.tmm[2]", "xsave.zmm[1]")
    )
    before = elements.of(vector, table)
    assert elements.of(one, table).name == "i8"
    elements.step(one, table, 2)
    assert elements.of(other, table).name == "bf16"
    assert elements.of(vector, table) is before
    elements.step(one, table, -2)
    assert elements.of(other, table).name == "i8"
    assert used_bytes(one, table) == one.shown_value()


def test_numbers_that_are_none_and_denormals_are_marked() -> None:
    f32 = BY_NAME["f32"]
    assert [mark_of(value, f32) for value in (1.0, 0.0, float("nan"), float("-inf"), 1e-40)] == ["", "", "!", "!", "'"]
    assert mark_of(2.0**-15, BY_NAME["f16"]) == "'"
    found = grid(packed("f32", [1.0, float("nan"), 1e-40, 2.0]), f32, 2)
    assert odd_text(found) == "1 NaN (!) · 1 denormal (')"
    lines = matrix(found, by_row=True).plain.splitlines()
    assert lines[0].split() == ["0", "1"]
    assert lines[1].split() == ["0", "1", "nan!"]
    assert lines[2].split()[2] == "2"
    assert lines[2].split()[1].endswith("'")


def test_the_heat_map_and_the_histogram() -> None:
    found = grid(bytes([0, 1, 64, 128, 255, 255, 255, 255]), BY_NAME["u8"], 4)
    lines = overview(found, 80).plain.splitlines()
    assert lines[1].startswith("  0 ··░░▒▒▓▓")
    assert lines[2].startswith("  1 ████████")
    assert "8 elements, 0 to 255" in lines[0]
    assert sum(int(line.split()[-1]) for line in lines[1:] if "from" in line) == 8
    narrow = overview(found, 20).plain.splitlines()
    assert len(narrow) > len(lines)


def test_what_is_not_configured_is_left_out_of_the_pictures() -> None:
    found = grid(bytes([9] * 16), BY_NAME["u8"], 4, 2, 3)
    assert found.used() == [9] * 6
    heat = [line[:12].rstrip() for line in overview(found, 20).plain.splitlines()[1:5]]
    assert heat == ["  0 ██████", "  1 ██████", "  2", "  3"]


def test_a_large_matrix_is_drawn_small() -> None:
    found = grid(bytes(range(256)) * 256, BY_NAME["u8"], 256)
    lines = overview(found, 80).plain.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 50
