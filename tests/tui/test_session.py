"""What the Inspect screen works on, without a screen; and edits that are not lost."""

from __future__ import annotations

import shlex

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.cli.main import main
from inspector.decode.fields import FieldTable
from inspector.readers.options import Options
from inspector.tui.picture import text_of
from inspector.tui.session import Session
from inspector.tui.widgets.field_list import FieldList
from inspector.tui.widgets.prompt import Prompt
from tests.support import opened
from tests.tui.support import running, session_of, type_line


def at(name: str, path: str) -> Session:
    session = Session(opened(name))
    assert session.jump(path)
    return session


def marked(session: Session) -> list[str]:
    """Paths of the rows that are marked as edited."""
    rows = session.rows
    return [row.spec.path for row in rows.visible if row.spec and rows.table.decode(row.spec).changed]


def test_a_toggled_bit_marks_itself_and_its_register() -> None:
    session = at("amx/process.core", "xsave.header.xstate_bv.avx")
    session.toggle_bit()
    assert marked(session) == ["xsave.header.xstate_bv", "xsave.header.xstate_bv.avx"]
    session.toggle_bit()
    assert marked(session) == []


def test_another_vcpu_shows_the_same_field() -> None:
    session = at("zen5-threads/xcore.core.gz", "zmm[3]")
    for number in (1, 2, 1, 0):
        session.select_vcpu(number)
        assert session.field().path == "xsave.zmm[3]"
    session.jump("xsave.legacy.mxcsr.DAZ")
    session.select_vcpu(3)
    assert session.field().path == "xsave.legacy.mxcsr.DAZ"
    session.jump("xsave")
    session.select_vcpu(2)
    assert session.field() is None
    assert session.rows.visible[session.cursor].group == "header"


def test_a_vcpu_without_the_field_shows_the_same_area() -> None:
    session = Session(opened("zen5-kvm"))
    session.select_vcpu(1)
    session.jump("msr.IA32_PAT")
    session.select_vcpu(0)
    assert session.area.prefix in ("msr", "xsave")


def test_the_name_of_an_area_is_that_area() -> None:
    session = Session(opened("arm64-threads/max-72.core.gz"))
    session.jump("za")
    assert session.area.prefix == "za"
    session.jump("svcr.ZA")
    assert session.field().path == "svcr.ZA"


def test_the_area_on_screen_is_asked_first() -> None:
    session = at("amx/process.core", "mxcsr")
    assert session.field().path == "xsave.legacy.mxcsr"
    session.jump("fpregs")
    session.jump("mxcsr")
    assert session.field().path == "fpregs.mxcsr"


def test_edits_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The command makes the same edits; a bit and an element are edited as the field that they are part of."""
    session = at("amx/process.core", "xsave.header.xstate_bv.pkru")
    session.toggle_bit()
    session.jump("xsave.zmm[3].u64[3]")
    session.set_value("0x1")
    session.jump("xsave.legacy.mxcsr")
    session.set_value("0x1fa0")
    words = shlex.split(session.set_commands())
    assert words[:3] == ["inspector", "set", "sample:amx/process.core"]
    assert main(words[1:]) in (0, 1)
    printed = capsys.readouterr().out
    for word in words[3:]:
        path, _, value = word.partition("=")
        assert f"-> {value}" in next(line for line in printed.splitlines() if line.startswith(f"{path}:"))
    assert [word.partition("=")[0] for word in words[3:]] == [
        "xsave.header.xstate_bv",
        "xsave.zmm[3]",
        "xsave.legacy.mxcsr",
    ]


def test_the_command_has_the_options_and_every_edited_vcpu() -> None:
    session = Session(opened("zen5-threads/xcore.core.gz"), Options(layout="zen5"))
    assert session.command().startswith("inspector show sample:zen5-threads/xcore.core.gz --layout zen5 --vcpu 0")
    for number in (0, 2):
        session.select_vcpu(number)
        session.jump("xsave.legacy.mxcsr")
        session.set_value("0x1fa0")
    commands = session.set_commands().split("; ")
    assert ["--vcpu 0" in commands[0], "--vcpu 2" in commands[1]] == [True, True]
    assert all(command.endswith("xsave.legacy.mxcsr=0x1fa0") for command in commands)


# A bug of ours in one field


def test_a_field_that_cannot_be_decoded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = FieldTable.decode

    def broken(table: FieldTable, spec: object) -> object:
        if spec.path == "xsave.legacy.mxcsr":
            raise IndexError("beyond")
        return decode(table, spec)

    monkeypatch.setattr(FieldTable, "decode", broken)
    session = at("amx/process.core", "xsave.legacy.mxcsr")
    assert session.field().text == "cannot be decoded, a bug of ours: IndexError: beyond"
    assert session.search("beyond")
    session.jump("fcw")
    assert session.field().value == 0x37F


async def test_an_area_that_cannot_be_decoded_is_shown_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from inspector.decode import plans

    def broken(area: Area) -> None:
        raise KeyError("named")

    monkeypatch.setattr(plans, "_xsave", broken)
    async with running("sample:amx/process.core", (120, 35)) as (app, pilot):
        await pilot.press("j")
        shown = text_of(app)
        assert "cannot be decoded, a bug of ours: KeyError: 'named'" in shown
        await pilot.press("slash", *"fcw", "enter", "escape", "c", "tab", "j", "j", "question_mark")
        assert not app.failure


async def test_a_detail_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from inspector.tui import detail

    monkeypatch.setattr(detail, "_place", lambda out, field: 1 / 0)
    async with running("sample:amx/process.core", (120, 35)) as (app, pilot):
        await type_line(pilot, "colon", "mxcsr")
        assert "ZeroDivisionError" in text_of(app)


@pytest.mark.parametrize("error", [InputError("x", "bytes", "none", 5), KeyError("named")])
def test_a_vcpu_whose_areas_cannot_be_read(error: Exception) -> None:
    def make() -> list[Area]:
        raise error

    good = Area("raw", "raw", "bytes", b"1234", Origin("x", 0))
    session = Session(Capture("x", "test", [Vcpu(0, "a", "x86", [good]), Vcpu(1, "b", "x86", make)]))
    session.select_vcpu(1)
    assert session.area is None
    assert session.areas() == []
    assert ("offset 0x5" if isinstance(error, InputError) else "a bug of ours: KeyError") in session.trouble[1]
    session.select_vcpu(0)
    assert session.field().path == "raw"


# Leaving


async def test_quitting_with_edits_asks_once() -> None:
    async with running() as (app, pilot):
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        await type_line(pilot, "enter", "0x5")
        await pilot.press("q")
        assert not app._exit
        assert "the edit xsave.pkru.pkru = 0x5 would be lost" in [note.message for note in app._notifications][-1]
        await pilot.press("v", "Y", "escape")
        assert app.clipboard == "inspector set sample:amx/process.core xsave.pkru.pkru=0x5"
        await pilot.press("q")
        assert app._exit


async def test_another_edit_is_asked_for_again() -> None:
    async with running() as (app, pilot):
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        await type_line(pilot, "enter", "0x5")
        await pilot.press("ctrl+q")
        await type_line(pilot, "enter", "0x6")
        await pilot.press("ctrl+q")
        assert not app._exit
        await pilot.press("u", "u", "q")
        assert app._exit


async def test_a_failed_question_closes_and_leaves_its_message() -> None:
    """What is typed next are keys again; the message goes with the next of them."""
    async with running() as (app, pilot):
        await type_line(pilot, "slash", "nothing like this")
        assert "nothing in this vCPU matches 'nothing like this'" in text_of(app)
        assert app.focused is app.screen.query_one("FieldList")
        session = session_of(app)
        await pilot.press("j", "j")
        assert session.cursor == 2
        await pilot.pause()
        assert "nothing in this vCPU" not in text_of(app)
        await type_line(pilot, "enter", "zebra")
        assert app.screen.query_one(Prompt).is_open


def test_a_search_says_which_match_it_is_on() -> None:
    session = at("amx/process.core", "xsave.header")
    assert session.search("pkru")
    seen = [session.found_text()]
    paths = [session.field().path]
    while session.search("pkru", again=True) and session.field().path != paths[0]:
        seen.append(session.found_text())
        paths.append(session.field().path)
    count = len(paths)
    assert count > 2
    assert sorted(seen) == sorted(f"{number + 1} of {count} for 'pkru'" for number in range(count))
    before = session.found_text()
    session.search("pkru", again=True)
    session.search("pkru", backwards=True, again=True)
    assert session.found_text() == before
    session.jump("xsave.legacy.fcw")
    assert not session.found_text()
    assert not session.search("no such thing")


async def test_the_title_has_the_filter_and_escape_ends_it() -> None:
    async with running(size=(80, 24)) as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "f", "tmm")
        assert "filter 'tmm'" in text_of(app)
        assert len(session.rows.visible) == 9
        await pilot.press("j", "j", "escape")
        await pilot.pause()
        assert "filter" not in text_of(app)
        assert session.field().path == "xsave.xtiledata.tmm[1]"


async def test_escape_ends_the_zoom_and_the_fields_have_the_keys_again() -> None:
    async with running(size=(80, 24)) as (app, pilot):
        await pilot.press("z")
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen.maximized is None
        assert isinstance(app.focused, FieldList)


async def test_arrows_unfold_and_fold_and_lead_to_the_register() -> None:
    async with running(size=(80, 24)) as (app, pilot):
        session = session_of(app)
        await type_line(pilot, "colon", "mxcsr")
        await pilot.press("right", "right", "j", "j")
        assert session.field().path == "xsave.legacy.mxcsr.DE"
        await pilot.press("left")
        assert session.field().path == "xsave.legacy.mxcsr"
        await pilot.press("left", "j")
        assert session.field().path == "xsave.legacy.mxcsr_mask"
        await pilot.press("left")
        assert session.field() is None
        await pilot.press("left")
        assert session.rows.is_folded(session.rows.visible[session.cursor])


async def test_half_a_page() -> None:
    async with running(size=(80, 24)) as (app, pilot):
        session = session_of(app)
        half = app.screen.query_one(FieldList).size.height // 2
        await pilot.press("ctrl+d")
        assert session.cursor == half
        await pilot.press("ctrl+u")
        assert session.cursor == 0


async def test_what_is_cut_off_says_so() -> None:
    async with running("sample:amx", size=(80, 24)) as (app, pilot):
        await type_line(pilot, "colon", "sw_xcr0")
        lines = text_of(app).splitlines()
        assert lines[0].rstrip().endswith("…")
        assert next(line for line in lines if "sw_xcr0" in line).rstrip(" ▅▆▇█▁▂▃▄").endswith("…")


async def test_a_key_takes_the_last_message_away() -> None:
    async with running(size=(80, 24)) as (app, pilot):
        await pilot.press("c", "c")
        await pilot.pause()
        assert len(app._notifications) == 1
        await pilot.press("j")
        assert not len(app._notifications)


async def test_a_stale_pkru_is_doubted_in_the_list_and_in_the_detail() -> None:
    async with running("sample:amx/process.core", size=(160, 45)) as (app, pilot):
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        text = text_of(app)
        assert "may be stale: AD1" in text
        assert "note: may be stale: Linux 5.14" in text
