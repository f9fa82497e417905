"""States side by side: what differs, in which of them, where in the value, and when."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import process_time

import pytest
from textual.pilot import Pilot

from inspector.capture.errors import UsageError
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.cli import screenshot
from inspector.cli.main import main
from inspector.cli.open import comparing
from inspector.decode.edit import set_field
from inspector.tui.compare_session import MOST_SIDES, CompareSession
from inspector.tui.comparison import ALWAYS, Comparison, Line
from inspector.tui.door import CompareApp
from inspector.tui.picture import opened as panes_opened
from inspector.tui.picture import text_of
from inspector.tui.screens.compare import CompareScreen
from inspector.tui.session import Session
from inspector.tui.table import ShownTable
from inspector.tui.widgets.compare_view import CompareView
from tests.support import SAMPLES, opened
from tests.tui.support import golden, running, session_of, type_line

ZMM = "xsave.zmm[3]"
SCENES = [f"sample:emerald-rapids/{name}.core.gz" for name in ("init", "tilezero", "released")]
SIZES = [(80, 24), (120, 35), (160, 45)]


def compared(*captures: Capture) -> Comparison:
    """What the screen shows of one capture's vCPUs, or of several captures."""
    comparison = CompareSession([Session(capture) for capture in captures]).comparison
    comparison.take(comparison.compare())
    return comparison


def edited() -> Comparison:
    """Four threads, the last of which has another word in the middle of zmm3."""
    capture = opened("zen5-threads/xcore.core.gz")
    base = None
    for number in range(4):
        table = ShownTable(capture.vcpus[number].area("xsave"))
        base = table.get(ZMM).value if base is None else base
        value = base ^ (0xF0 << 256) if number == 3 else base
        set_field(Session(capture).overlay, table, table.find(ZMM)[0], hex(value))
    return compared(capture)


@asynccontextmanager
async def side_by_side(
    *targets: str, size: tuple[int, int] = (120, 35)
) -> AsyncIterator[tuple[CompareApp, Pilot[int]]]:
    app = comparing(targets)
    async with app.run_test(size=size) as pilot:
        await panes_opened(app, pilot)
        yield app, pilot


def view_of(app: CompareApp) -> CompareView:
    return app.screen.query_one(CompareView)


def test_the_odd_one_out() -> None:
    comparison = edited()
    assert comparison.odd(ZMM) == {3}
    assert [sides for sides, _ in comparison.groups(ZMM)] == [[0, 1, 2], [3]]
    comparison.refer_to(3)
    assert comparison.odd(ZMM) == {0, 1, 2}


def test_a_cut_cell_shows_where_it_differs() -> None:
    comparison = edited()
    texts = [comparison.cell_text(ZMM, side, 18) for side in range(4)]
    assert texts[0] == texts[1] == texts[2] != texts[3]
    assert all(len(text) <= 18 and text.startswith("0x…") and text.endswith("…") for text in texts)


@pytest.mark.parametrize(
    "name", ["zen5-kvm", "amx", "arm64-threads/max-72.core.gz", "qemu-x86-max/migration-stream.gz"]
)
def test_cells_that_differ_read_differently(name: str) -> None:
    """A row that is marked shows why, even in the narrowest cell."""
    comparison = compared(opened(name))
    for line in comparison.lines:
        if line.path:
            texts = {comparison.cell_text(line.path, side, 19) for side in comparison.shown_sides()}
            assert len(texts) > 1, line.path


def test_the_screen_and_the_command_name_the_same_fields() -> None:
    """There is one truth: what ``inspector diff`` finds."""
    from inspector.diff.changes import difference

    one, other = opened("emerald-rapids/init.core.gz"), opened("emerald-rapids/full.core.gz")
    found = difference((one.vcpus[0].areas, other.vcpus[0].areas), whole=True)
    comparison = compared(one, other)
    assert {path for paths in comparison.sections.values() for path in paths} == {c.path for c in found.changes}


def test_what_always_differs_is_the_last_section_and_what_one_side_lacks_is_folded() -> None:
    comparison = compared(opened("amx/process.core"), opened("qemu-kvm-reset/migration-stream.gz"))
    sections = [line.section for line in comparison.lines if not line.path]
    assert ALWAYS not in sections[:-1]
    folded = [section for section in sections if comparison.is_folded(section)]
    assert folded
    assert all("only in" in comparison.heading(section) for section in folded)
    comparison = compared(opened("amx"))
    assert comparison.lines[-1].section == ALWAYS


def test_nothing_that_matches_is_not_equality() -> None:
    amx = opened("amx")
    comparison = compared(amx, amx)
    assert "no field differs" in comparison.emptiness()
    comparison.filter_text = "xyzzy"
    comparison.refresh()
    assert comparison.emptiness() == "no field matches 'xyzzy'"
    comparison.filter_text = "xcr0"
    comparison.refresh()
    assert "none of them differs" in comparison.emptiness()


def test_which_step_changes_what() -> None:
    comparison = compared(*(opened(name.removeprefix("sample:")) for name in SCENES))
    path = "xsave.xtilecfg.palette_id"
    assert comparison.steps(path) == [0, 1]
    assert comparison.steps("xsave.legacy.fop") == [0]
    comparison.step = 1
    comparison.refresh()
    shown = {line.path for line in comparison.lines}
    assert path in shown
    assert "xsave.legacy.fop" not in shown
    assert comparison.odd(path) == {2}
    usual = [line for line in comparison.lines if line.path and line.section != ALWAYS]
    assert comparison.step_counts()[1] == len(usual)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "targets", "keys"),
    [
        ("captures", SCENES[:2], ["n"]),
        ("captures-three", SCENES, ["right", "r", "slash", *"xtile", "enter", "n"]),
        ("captures-time", SCENES, ["T", "right", "n"]),
        ("captures-none", SCENES, ["slash", *"xyzzy", "enter"]),
    ],
)
async def test_captures_side_by_side(name: str, targets: list[str], keys: list[str], size: tuple[int, int]) -> None:
    async with side_by_side(*targets, size=size) as (app, pilot):
        await pilot.press(*keys)
        await pilot.pause()
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_columns_are_as_wide_as_the_terminal_gives() -> None:
    async with running("sample:zen5-kvm", (220, 50)) as (app, pilot):
        session = session_of(app)
        session.jump(f"{ZMM}.u64[3]")
        session.set_value("0x1")
        await pilot.press("c", "slash", *"zmm[3]", "enter")
        await pilot.pause()
        shown = text_of(app)
        row = next(line for line in shown.splitlines() if f" {ZMM} " in line)
        cells = [word for word in row.split() if word.startswith("0x")]
        assert len(set(cells)) >= 2
        assert max(map(len, cells)) > 20
        for side in range(2):
            assert f"0x{app.screen.comparison.field(ZMM, side).value:0128x}" in shown


async def test_more_columns_than_fit_are_told() -> None:
    async with running("sample:zen5-threads/xcore.core.gz", (80, 24)) as (app, pilot):
        await pilot.press("c")
        await pilot.pause()
        assert "2 ▸" in text_of(app)
        await pilot.press("right", "right", "right")
        await pilot.pause()
        assert "◂ 2 more" in text_of(app)
        assert "▸" not in text_of(app).splitlines()[1]


async def test_enter_goes_to_the_field_and_back() -> None:
    async with side_by_side(*SCENES[:2]) as (app, pilot):
        await pilot.press("slash", *"xstate_bv", "enter", "n", "right", "enter")
        await pilot.pause()
        screen = app.screen
        assert screen.session.capture.target == SCENES[1]
        assert screen.session.field().path == "xsave.header.xstate_bv"
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, CompareScreen)
        assert view_of(app).line() == Line("xsave", "xsave.header.xstate_bv")


async def test_an_edit_at_the_field_changes_what_differs_and_is_asked_for() -> None:
    async with side_by_side(SCENES[0], SCENES[0]) as (app, pilot):
        assert "no field differs" in text_of(app)
        await pilot.press("d", "slash", *"legacy.mxcsr", "enter", "enter")
        await pilot.pause()
        await type_line(pilot, "enter", "0x1fa0")
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.comparison.differs("xsave.legacy.mxcsr")
        await pilot.press("q")
        assert not app._exit
        await pilot.press("q")
        assert app._exit


async def test_inspect_and_compare_share_edits_and_place() -> None:
    async with running("sample:zen5-kvm", (120, 35)) as (app, pilot):
        await pilot.press("c", "n", "enter")
        await pilot.pause()
        path = app.screen.session.field().path
        await pilot.press("c")
        await pilot.pause()
        assert isinstance(app.screen, CompareScreen)
        await pilot.press("c")
        await pilot.pause()
        assert app.screen is app.inspect
        assert session_of(app).field().path == path


async def test_escape_clears_the_filter_and_sections_fold() -> None:
    async with side_by_side(*SCENES[:2]) as (app, pilot):
        await pilot.press("slash", *"xtile", "enter")
        await pilot.pause()
        assert "filter 'xtile', Esc: all" in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "filter" not in text_of(app).splitlines()[0]
        assert not app._exit
        lines = view_of(app).line_count()
        await pilot.press("space")
        await pilot.pause()
        assert view_of(app).line_count() < lines
        assert "▸ xsave" in text_of(app)
        await pilot.press("n")
        await pilot.pause()
        assert view_of(app).line().path
        assert view_of(app).line_count() == lines


async def test_other_vcpus_of_the_captures() -> None:
    async with side_by_side("sample:amx", "sample:amx") as (app, pilot):
        assert "vCPU 0 of 2" in text_of(app)
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert "vCPU 1 of 2" in text_of(app)


async def test_sixty_four_vcpus_open_at_once() -> None:
    async with running("sample:zen5-kvm", (160, 45)) as (app, pilot):
        capture = session_of(app).capture
        capture.vcpus = (capture.vcpus * 11)[:64]
        start = process_time()
        await pilot.press("c")
        assert process_time() - start < 3
        while app.screen.comparison.found is None:
            await pilot.pause(0.05)
        await pilot.pause()
        assert "differ" in text_of(app)
        assert process_time() - start < 20


async def test_what_is_partial_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cut.core"
    path.write_bytes((SAMPLES / "amx/process.core").read_bytes()[:6000])
    async with side_by_side(str(path), "sample:amx/process.core") as (app, _):
        assert "cut.core: partial" in text_of(app)


async def test_the_command_of_a_field_prints_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    async with running("sample:amx", (160, 45)) as (app, pilot):
        await pilot.press("c", "slash", *"xcr0", "enter", "right", "Y")
        await pilot.pause()
        words = shlex.split(app.clipboard)
    assert main(words[1:]) == 1
    assert "xcr.xcr0" in capsys.readouterr().out


async def test_a_cores_own_bytes_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes((SAMPLES / "amx/process.core").read_bytes())
    before = path.read_bytes()
    async with side_by_side(str(path), SCENES[0]) as (_, pilot):
        await pilot.press("n", "enter", "escape", "T", "right", "d", "N")
    assert path.read_bytes() == before


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
    assert "equal ones too" in path.read_text()


def test_a_crowd_is_compared_around_the_selected_vcpu() -> None:
    made: list[int] = []

    def areas(number: int) -> list[Area]:
        made.append(number)
        return [Area("raw", "raw", "bytes", bytes([number % 2] * 8), Origin("x", 0))]

    vcpus = [Vcpu(number, f"vCPU {number}", "x86", partial(areas, number)) for number in range(2000)]
    session = Session(Capture("crowd", "made", vcpus))
    session.select_vcpu(1000)
    crowd = CompareSession([session])
    assert crowd.title() == f"crowd · 873 to {872 + MOST_SIDES} of 2000 vCPUs"
    assert crowd.comparison.sides[0].name == "vCPU 872"
    assert crowd.place(128) == (session, 1000)
    crowd.comparison.take(crowd.comparison.compare())
    assert len(set(made)) == MOST_SIDES + 1
    (path, *_) = (line.path for line in crowd.comparison.lines if line.path)
    assert crowd.command(path, 1).startswith("inspector diff crowd crowd --vcpu 872 --vcpu 873")
