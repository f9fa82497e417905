"""vCPUs side by side: what differs, in which of them, and where in the value."""

from __future__ import annotations

import pytest

from inspector.capture.errors import UsageError
from inspector.cli import screenshot
from inspector.decode.edit import set_field
from inspector.tui.comparison import Comparison
from inspector.tui.picture import text_of
from inspector.tui.session import Session
from inspector.tui.table import ShownTable
from tests.support import opened
from tests.tui.support import running, session_of

ZMM = "xsave.zmm[3]"


def edited() -> Comparison:
    """Four threads, the last of which has another word in the middle of zmm3."""
    capture = opened("zen5-threads/xcore.core.gz")
    comparison = Comparison(capture)
    base = comparison.cell(ZMM, 0).value
    for number in range(4):
        session = Session(capture)
        session.select_vcpu(number)
        table = ShownTable(next(area for area in capture.vcpus[number].areas if area.prefix == "xsave"))
        value = base ^ (0xF0 << 256) if number == 3 else base
        set_field(session.overlay, table, table.find(ZMM)[0], hex(value))
    return Comparison(capture)


def test_the_odd_one_out() -> None:
    comparison = edited()
    assert comparison.odd(ZMM) == {3}
    assert [columns for columns, _ in comparison.groups(ZMM)] == [[0, 1, 2], [3]]
    assert comparison.differing_digits(ZMM) == {128 - 66}


def test_a_cut_cell_shows_where_it_differs() -> None:
    comparison = edited()
    texts = [comparison.cell_text(ZMM, comparison.cell(ZMM, column), 18) for column in range(4)]
    assert texts[0] == texts[1] == texts[2] != texts[3]
    assert all(len(text) <= 18 and text.startswith("0x…") and text.endswith("…") for text in texts)


async def test_columns_are_as_wide_as_the_terminal_gives() -> None:
    async with running("sample:zen5-kvm", (220, 50)) as (app, pilot):
        session = session_of(app)
        session.jump(f"{ZMM}.u64[3]")
        session.set_value("0x1")
        await pilot.press("c", "d", "slash", *"zmm[3]", "enter")
        await pilot.pause()
        shown = text_of(app)
        row = next(line for line in shown.splitlines() if line.startswith(f" ≠ {ZMM}"))
        cells = [word for word in row.split() if word.startswith("0x")]
        assert len(set(cells)) >= 2
        assert max(map(len, cells)) > 24
        for column in range(2):
            assert f"0x{app.screen.comparison.cell(ZMM, column).value:0128x}" in shown


async def test_more_vcpus_than_fit_are_told() -> None:
    async with running("sample:zen5-threads/xcore.core.gz", (80, 24)) as (app, pilot):
        await pilot.press("c")
        await pilot.pause()
        assert "1 to 2 on screen" in text_of(app)
        await pilot.press("right", "right")
        await pilot.pause()
        assert "3 to 4 on screen" in text_of(app)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--field", "bogus"], "--field bogus: no such path"),
        (["--field", "#99"], "--field #99"),
        (["--press", "j,bogus"], "--press bogus: no such key"),
        (["--press", "ctrl+bogus"], "no such key"),
    ],
)
def test_a_picture_of_something_else_is_refused(words: list[str], wrong: str, tmp_path) -> None:
    path = tmp_path / "x.svg"
    with pytest.raises(UsageError, match="--"):
        screenshot.run(["sample:amx/process.core", *words, "-o", str(path)])
    assert not path.exists()


def test_names_of_keys(tmp_path) -> None:
    keys = "colon,slash,escape,question_mark,escape,left_square_bracket,tab,shift+tab,pagedown,ctrl+r,n,minus,space"
    screenshot.run(["sample:amx/process.core", "--press", keys, "-o", str(tmp_path / "x.svg")])


def test_press_may_be_said_again(tmp_path) -> None:
    path = tmp_path / "x.txt"
    screenshot.run(["sample:zen5-kvm", "--press", "c", "--press", "d", "-o", str(path)])
    assert "only differences" in path.read_text()
