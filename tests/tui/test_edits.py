"""Edits that can be kept: listed, copied as commands, saved as a new file; and what they leave alone."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from textual.widgets import Input

from inspector.capture.errors import EditError
from inspector.capture.model import Area
from inspector.capture.overlay import Overlay
from inspector.cli.main import main
from inspector.decode.edit import set_field
from inspector.decode.fields import FieldTable
from inspector.export.files import save_new
from inspector.export.vcpu import write_vcpu
from inspector.targets.schemes import capture_of
from inspector.tui.picture import text_of
from inspector.tui.screens.edits import EditsScreen
from tests.support import SAMPLES, opened
from tests.tui.support import golden, running, session_of, type_line

ARM64 = "sample:arm64-kvm/max-linux-7.2.13.regs"


async def test_the_edited_capture_is_saved_as_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    core = tmp_path / "a.core"
    core.write_bytes((SAMPLES / "amx/process.core").read_bytes())
    before = core.read_bytes()
    async with running(str(core), (120, 35)) as (app, pilot):
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        await type_line(pilot, "enter", "0x5")
        await pilot.press("S")
        assert app.screen.query_one(Input).value == "a.core-edited.vcpu"
        await pilot.press("enter")
        await pilot.pause()
        assert capture_of("a.core-edited.vcpu").vcpus[0].areas
        # What is kept is not asked for.
        await pilot.press("q")
        assert app._exit
    assert core.read_bytes() == before
    saved = capture_of("a.core-edited.vcpu")
    values = [FieldTable(area).get("xsave.pkru.pkru") for area in saved.vcpus[0].areas]
    assert [field.value for field in values if field] == [5]


async def test_no_file_is_ever_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "taken.vcpu"
    taken.write_text("mine")
    async with running(size=(120, 35)) as (app, pilot):
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        await type_line(pilot, "enter", "0x5")
        await type_line(pilot, "S", "taken.vcpu")
        assert "taken.vcpu: already there" in text_of(app)
        await pilot.press("escape")
        await type_line(pilot, "S", "other.core")
        assert "an edited capture is a .vcpu file" in text_of(app)
        await pilot.press("escape", "q")
        assert not app._exit
    assert taken.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["taken.vcpu"]


@pytest.mark.parametrize("size", [(80, 24), (120, 35), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_list_of_edits(size: tuple[int, int]) -> None:
    async with running("sample:amx", size) as (app, pilot):
        await type_line(pilot, "colon", "xsave.header.xstate_bv.pkru")
        await pilot.press("space")
        await type_line(pilot, "colon", "xcr.xcr0")
        await type_line(pilot, "enter", "0x7")
        await pilot.press("right_square_bracket")
        await type_line(pilot, "enter", "0x3")
        await pilot.press("v")
        await pilot.pause()
        assert isinstance(app.screen, EditsScreen)
        await golden(app, f"edits-{size[0]}x{size[1]}")
        await pilot.press("y")
        first, second = app.clipboard.split("; ")
        assert first.startswith("inspector set sample:amx --vcpu 0 xsave.header.xstate_bv=")
        assert second == "inspector set sample:amx --vcpu 1 xcr.xcr0=0x3"
        await pilot.press("enter")
        assert app.screen is app.inspect
        assert session_of(app).field().path == "xsave.header.xstate_bv"


async def test_what_is_taken_back_is_no_edit() -> None:
    async with running("sample:amx") as (app, pilot):
        await type_line(pilot, "colon", "xcr.xcr0")
        await type_line(pilot, "enter", "0x7")
        await type_line(pilot, "enter", "0x602e7")
        assert session_of(app).edited_fields() == []
        await pilot.press("u", "u", "v")
        assert app.screen is app.inspect


async def test_the_copied_command_prints_what_is_on_screen(capsys: pytest.CaptureFixture[str]) -> None:
    async with running("sample:amx", (160, 45)) as (app, pilot):
        await type_line(pilot, "colon", "xcr.xcr0")
        await type_line(pilot, "enter", "0x7")
        await pilot.press("Y")
        words = shlex.split(app.clipboard)
    assert words[:3] == ["inspector", "show", "sample:amx"]
    assert main(words[1:]) == 0
    assert "0x0000000000000007" in capsys.readouterr().out


def test_show_with_another_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "sample:amx", "--set", "xcr.xcr0=7"]) == 2
    assert main(["show", "sample:amx", "--vcpu", "0", "--set", "nosuch=7"]) == 2
    assert "no such field" in capsys.readouterr().err


async def test_a_toggled_bit_marks_itself_and_its_register() -> None:
    async with running("sample:amx/process.core", (160, 45)) as (app, pilot):
        await type_line(pilot, "colon", "xsave.header.xstate_bv")
        await pilot.press("space", "down", "down", "space")
        session = session_of(app)
        table = FieldTable(session.area)
        changed = [spec.path for spec in table.specs if table.decode(spec).changed]
        bits = [spec.path for spec in table.find("xsave.header.xstate_bv.*") if table.decode(spec).changed]
        # Whether a component is in use is this very bit.
        assert [path for path in changed if not path.startswith("xstate.")] == ["xsave.header.xstate_bv"]
        assert len(bits) == 1


# What was read from text


def _is_of_values(area: Area) -> bool:
    return area.attributes.get("synthesized", False) and not area.attributes.get("implied")


@pytest.mark.parametrize(
    "name",
    [
        "arm64-kvm/max-linux-7.2.13.regs",
        "cascade-lake/linux-5.10",
        "pasted/gdb-info-all-registers.txt",
        "pasted/oops.txt",
        "zen5/cpuid-r.txt",
    ],
)
def test_fields_that_were_read_from_text_can_be_edited_and_saved(name: str, tmp_path: Path) -> None:
    capture = opened(name)
    made: dict[str, int] = {}
    for area in filter(_is_of_values, capture.vcpus[0].areas):
        made.update(_edited(area))
    path = tmp_path / "edited.vcpu"
    save_new(str(path), lambda out: write_vcpu(out, capture))
    kept = {field.path: field.value for area in capture_of(str(path)).vcpus[0].areas for field in FieldTable(area)}
    assert made
    assert {path: kept[path] for path in made} == made


def _edited(area: Area) -> dict[str, int]:
    """Some whole registers, with their lowest bit flipped."""
    made = {}
    chosen = [spec for spec in FieldTable(area).specs if spec.bit is None and spec.kind in ("uint", "vector")]
    for spec in [spec for spec in chosen if spec.pieces and spec.group != "entries"][:: max(1, len(chosen) // 9)]:
        table = FieldTable(area)
        field = table.decode(spec)
        if field.value is not None and not spec.path.endswith((".nent", ".nmsrs", ".function", ".index")):
            set_field(Overlay(), table, spec, hex(field.value ^ 1))
            made[spec.path] = field.value ^ 1
    return made


def test_set_edits_an_arm64_register_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(tmp_path / "x.vcpu")
    assert main(["set", ARM64, "sysreg.ID_AA64PFR0_EL1=0x1", "-o", path]) == 1, "KVM refuses the value"
    assert main(["show", path, "--field", "sysreg.ID_AA64PFR0_EL1"]) == 0
    assert "0x0000000000000001" in capsys.readouterr().out


def test_what_no_note_holds_is_not_edited() -> None:
    area = opened("arm64-threads/max-72.core.gz").vcpus[0].area("svcr")
    table = FieldTable(area)
    with pytest.raises(EditError, match="follows from which notes"):
        set_field(Overlay(), table, table.specs[0], "3")
