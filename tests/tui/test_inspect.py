from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from textual.widgets import Input

from inspector.readers.options import Options
from inspector.tui.screens.help import HelpScreen
from inspector.tui.widgets.field_list import FieldList
from inspector.tui.widgets.hex_pane import HexPane
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.target_tree import TargetTree
from tests.readers.support import thread
from tests.support import SAMPLES, core64
from tests.tui.support import golden, running, session_of, type_line

SIZES = [(80, 24), (160, 45)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "target", "keys"),
    [
        ("start", "sample:amx/process.core", []),
        ("tile", "sample:amx/process.core", ["colon", *"tmm[3]", "enter"]),
        ("mxcsr-bits", "sample:amx/process.core", ["colon", *"mxcsr", "enter", "space", "j", "j"]),
        ("zmm", "sample:zen5-threads/xcore.core.gz", ["colon", *"zmm[16]", "enter"]),
        ("folder", "sample:zen5-kvm", ["right_square_bracket", "colon", *"sregs.cr0", "enter"]),
        ("cpuid", "sample:zen5/cpuid-r.txt", ["slash", *"avx512f", "enter"]),
        ("edited", "sample:amx/process.core", ["colon", *"mxcsr", "enter", "enter", *"0x1fa0", "enter"]),
        ("guess", "sample:zen5-kvm/vcpu0_reset_xsave.bin", []),
        ("help", "sample:amx/process.core", ["question_mark"]),
        ("prompt", "sample:amx/process.core", ["colon", *"nowhere", "enter"]),
    ],
)
async def test_screens(name: str, target: str, keys: list[str], size: tuple[int, int]) -> None:
    async with running(target, size) as (app, pilot):
        await pilot.press(*keys)
        await pilot.pause()
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_the_panes_follow_each_other() -> None:
    async with running() as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        assert session.field().path == "xsave.pkru.pkru"
        hex_pane = app.screen.query_one(HexPane)
        assert hex_pane.byte == 2688
        await pilot.press("tab")
        assert app.focused is hex_pane
        await pilot.press("right", "right", "right", "right")
        assert session.field().path == "xsave.pkru.reserved"
        hex_pane.go_to(2816 + 1024 * 3 + 7)
        await pilot.pause()
        assert session.field().path == "xsave.xtiledata.tmm[3]"
        await type_line(pilot, "colon", "0x200")
        assert session.field().path == "xsave.header.xstate_bv"


async def test_toggle_edit_undo_redo(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes((SAMPLES / "amx/process.core").read_bytes())
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    async with running(str(path)) as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "colon", "xsave.legacy.mxcsr.DAZ")
        await pilot.press("space")
        assert session.field().value == 1
        assert session.field().changed
        await type_line(pilot, "colon", "mxcsr_mask")
        await pilot.press("enter")
        await pilot.press(*"0xffbf", "enter")
        assert session.field().value == 0xFFBF
        await pilot.press("u", "u")
        assert not session.overlay.edits
        await pilot.press("ctrl+r")
        assert len(session.overlay.edits) == 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


async def test_a_wrong_value_is_refused_and_can_be_mended() -> None:
    async with running() as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        await pilot.press("enter", *"zebra", "enter")
        assert "'zebra' is no number" in str(app.screen.query_one("#wrong").render())
        assert not session.overlay.edits
        assert isinstance(app.focused, Input)
        await pilot.press("ctrl+u", *"0x5", "enter")
        assert session.field().value == 5
        await pilot.press("enter", "escape")
        assert session.field().value == 5
        assert isinstance(app.focused, FieldList)


async def test_keys_typed_ahead_arrive_where_they_belong() -> None:
    """All keys at once, without a pause between: as when a line is pasted."""
    from textual import events

    async with running() as (app, pilot):
        keys = ["slash", *"tmm[2]", "enter"]
        for key in keys:
            character = {"slash": "/", "enter": "\r"}.get(key, key)
            app.post_message(events.Key(key, character))
        await pilot.pause()
        await pilot.pause()
        assert session_of(app).field().path == "xsave.xtiledata.tmm[2]"


async def test_not_captured_is_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes((SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()[:4000])
    async with running(str(path)) as (app, pilot):
        await type_line(pilot, "colon", "tmm[1]")
        assert session_of(app).field().value is None
        await pilot.press("enter", "space")
        assert not session_of(app).overlay.edits
        assert not app.screen.query_one(Prompt).is_open


async def test_search_goes_on_and_back() -> None:
    async with running() as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "slash", "pkru")
        first = session.field().path
        await pilot.press("n")
        second = session.field().path
        assert first != second
        await pilot.press("N")
        assert session.field().path == first
        await type_line(pilot, "slash", "nothing like this")
        assert "nothing in this vCPU matches" in str(app.screen.query_one("#wrong").render())


async def test_search_reaches_other_areas() -> None:
    async with running("sample:zen5-kvm") as (app, pilot):
        await pilot.press("right_square_bracket")
        await type_line(pilot, "slash", "IA32_PAT")
        assert session_of(app).field().path == "msr.IA32_PAT"


async def test_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (app, pilot):
        sent: list[str] = []
        monkeypatch.setattr(app, "copy_to_clipboard", sent.append)
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        await pilot.press("y", "Y")
        assert sent == ["0x55555554", "inspector show sample:amx/process.core --field xsave.pkru.pkru"]


async def test_vcpus_by_keys_and_mouse() -> None:
    async with running("sample:zen5-threads/xcore.core.gz") as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "colon", "zmm[5]")
        await pilot.press("right_square_bracket")
        assert session.vcpu_number == 1
        assert session.area.prefix == "xsave"
        await type_line(pilot, "colon", "#3")
        assert session.vcpu_number == 3
        tree = app.screen.query_one(TargetTree)
        await pilot.click(TargetTree, offset=(2, 1))
        await pilot.pause()
        assert session.vcpu_number == 0
        assert tree.line_at(tree.cursor).vcpu == 0
        await pilot.press("left_square_bracket")
        assert session.vcpu_number == 0


async def test_process_areas() -> None:
    async with running() as (app, pilot):
        await type_line(pilot, "colon", "auxv.AT_MINSIGSTKSZ")
        assert session_of(app).vcpu_number == -1
        assert session_of(app).field().value == 11952


async def test_element_types_and_zoom() -> None:
    async with running(size=(160, 45)) as (app, pilot):
        await type_line(pilot, "colon", "tmm[1]")
        names = []
        for _ in range(17):
            session = session_of(app)
            names.append(session.elements.of(session.field(), session.rows.table).name)
            await pilot.press("e")
        assert len(set(names)) == 17
        await pilot.press("E", "z")
        assert app.screen.maximized is not None
        await pilot.press("z")
        assert app.screen.maximized is None


async def test_padding_is_shown_on_demand() -> None:
    async with running() as (app, pilot):
        session = session_of(app)
        few = len(session.rows.visible)
        await pilot.press("a")
        assert len(session.rows.visible) > few
        await pilot.press("a")
        assert len(session.rows.visible) == few


async def test_help_and_themes() -> None:
    async with running() as (app, pilot):
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        theme = app.theme
        await pilot.press("t")
        assert app.theme != theme


async def test_command_palette_has_our_keys() -> None:
    async with running() as (app, _pilot):
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Search", "Go to", "Undo", "Redo", "Copy command", "Screenshot", "Theme"} <= titles


async def test_screenshot_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running() as (_app, pilot):
        await pilot.press("s", "s")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"inspector-{n}.{kind}" for n in (1, 2) for kind in ("png", "svg")
    ]
    assert (tmp_path / "inspector-1.png").read_bytes().startswith(b"\x89PNG")
    assert "url(http" not in (tmp_path / "inspector-1.svg").read_text()


async def test_unreadable_target_leaves_with_the_reason() -> None:
    async with running("/does/not/exist") as (app, _pilot):
        assert "no such file" in str(app.failure)
        assert app.return_code == 3


async def test_partial_capture_says_so() -> None:
    async with running("sample:amx/process.core", options=Options(layout="zen5")) as (app, _pilot):
        assert "not used" in str(app.screen.query_one("#notice").render())


async def test_ten_thousand_threads(tmp_path: Path) -> None:
    """Lines are painted, not kept: going to the end decodes only what is on screen."""
    path = tmp_path / "core"
    status = thread(0)
    path.write_bytes(core64(status * 10_000))
    async with running(str(path)) as (app, pilot):
        tree = app.screen.query_one(TargetTree)
        tree.focus()
        assert tree.line_count() == 10_003
        await pilot.press("G")
        await pilot.pause()
        session = session_of(app)
        assert session.vcpu_number == 9_999
        made = sum(vcpu._areas is not None for vcpu in session.capture.vcpus)
        assert made <= 3
        await pilot.press(*["k"] * 5)
        assert session.vcpu_number in (9_994, 9_995, 9_996)


@pytest.mark.parametrize("size", [(40, 10), (20, 5), (60, 16)])
async def test_small_terminals_do_not_break(size: tuple[int, int]) -> None:
    async with running(size=size) as (app, pilot):
        await pilot.press("j", "j", "space", "tab", "tab", "tab", "question_mark", "escape")
        assert app.return_code is None


async def test_resizing() -> None:
    async with running() as (app, pilot):
        await type_line(pilot, "colon", "zmm[31]")
        await pilot.resize_terminal(160, 45)
        await pilot.pause()
        assert app.screen.query_one(HexPane).columns == 16
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        assert session_of(app).field().path == "xsave.zmm[31]"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "target", "keys"),
    [
        ("sve", "sample:arm64-threads/max-72.core.gz", ["colon", *"sve.p[1]", "enter"]),
        ("sysreg", "sample:qemu-arm64-max/migration-stream.gz", ["colon", *"SCTLR_EL1", "enter"]),
        ("compare", "sample:arm64-threads/max-72.core.gz", ["c", "d", "slash", *"sve.", "enter"]),
        ("compare-differences", "sample:qemu-arm64-max/migration-stream.gz", ["c"]),
        ("filter", "sample:qemu-neoverse-v1/migration-stream.gz", ["f", *"aa64pfr0", "enter"]),
        ("template", "sample:templates/graviton3-as-graviton2.json", []),
    ],
)
async def test_arm64_screens(name: str, target: str, keys: list[str], size: tuple[int, int]) -> None:
    async with running(target, size) as (app, pilot):
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_compare_marks_differences(tmp_path: Path) -> None:
    async with running("sample:qemu-arm64-max/migration-stream.gz") as (app, pilot):
        await pilot.press("c")
        await pilot.pause()
        comparison = app.screen.comparison
        assert comparison.only_differences
        shown = {line.path for line in comparison.lines}
        assert "core.v[3]" in shown
        assert "id.ID_AA64ISAR1_EL1.APA" in comparison.all_paths()
        assert "id.ID_AA64ISAR1_EL1.APA" not in shown
        await pilot.press("escape")
        assert app.screen is app.inspect


async def test_eight_vcpus_of_four_hundred_registers_without_lag(tmp_path: Path) -> None:
    """Comparing all of them takes less than a second, and a key less than a tenth."""
    import time

    from inspector.targets.schemes import capture_of
    from inspector.tui.compare_session import CompareSession
    from inspector.tui.session import Session

    capture = capture_of("sample:qemu-arm64-max/migration-stream.gz")
    capture.vcpus = capture.vcpus * 4
    start = time.process_time()
    comparison = CompareSession([Session(capture)]).comparison
    comparison.take(comparison.compare())
    assert time.process_time() - start < 1
    assert len(comparison.all_paths()) > 1000
    async with running("sample:qemu-arm64-max/migration-stream.gz") as (app, pilot):
        session_of(app).capture.vcpus *= 4
        await pilot.press("c")
        keys = ["down", "pagedown", "right", "left", "up", "end", "home"] * 4
        start = time.process_time()
        await pilot.press(*keys)
        await pilot.pause()
        assert (time.process_time() - start) / len(keys) < 0.1


async def test_filter_and_its_end() -> None:
    async with running("sample:qemu-arm64-max/migration-stream.gz") as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "f", "mmfr1")
        assert 0 < len(session.rows.visible) < 60
        await type_line(pilot, "f", "no such thing")
        assert "no field of this area" in str(app.screen.query_one("#wrong").render())
        await pilot.press("escape")
        await type_line(pilot, "colon", "core.pc")
        assert session.field().path == "core.pc"
        assert session.rows.filter_text == ""
