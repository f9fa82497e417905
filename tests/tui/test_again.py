"""R reads the target again: the same place, what changed is marked, edits are not lost."""

from __future__ import annotations

from pathlib import Path

from inspector.tui.widgets.field_list import FieldList
from tests.tui.support import running, session_of, type_line

_REGISTERS = "rax            0x{rax:x}                 1\nrbx            0x2                 2\nrip  0x10  0x10\n"


def painted(app: object, path: str) -> str:
    """The line of a field."""
    fields = app.screen.query_one(FieldList)  # type: ignore[attr-defined]
    rows = session_of(app).rows  # type: ignore[arg-type]
    line = next(at for at, row in enumerate(rows.visible) if row.spec is not None and row.spec.path == path)
    return "".join(segment.text for segment in fields.paint(line, 80))


async def test_what_changed_is_marked_at_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "registers.txt"
    path.write_text(_REGISTERS.format(rax=1))
    async with running(str(path)) as (app, pilot):
        await type_line(pilot, "colon", "regs.rbx")
        path.write_text(_REGISTERS.format(rax=0x77))
        await pilot.press("R")
        for _ in range(100):
            await pilot.pause(0.02)
            if session_of(app).moved:
                break
        session = session_of(app)
        assert session.moved == {0: frozenset({"regs.rax"})}
        assert session.field().path == "regs.rbx"
        assert painted(app, "regs.rax").startswith("≠")
        assert "0x77" in painted(app, "regs.rax").replace("0x0000000000000077", "0x77")
        assert painted(app, "regs.rbx").startswith(" ")
        assert "1 field is another value now (≠), in 1 of 1 vCPUs" in str(app.screen.query_one("#notice").content)


async def test_what_cannot_be_read_again_leaves_what_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "registers.txt"
    path.write_text(_REGISTERS.format(rax=1))
    async with running(str(path)) as (app, pilot):
        path.unlink()
        await pilot.press("R")
        for _ in range(100):
            await pilot.pause(0.02)
            if "no such file" in str(app.screen.query_one("#notice").content):
                break
        else:
            raise AssertionError(str(app.screen.query_one("#notice").content))
        assert session_of(app).field() is not None


async def test_edits_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "process.core"
    path.write_bytes(Path("samples/amx/process.core").read_bytes())
    async with running(str(path)) as (app, pilot):
        await type_line(pilot, "colon", "xsave.pkru.pkru")
        await pilot.press("enter", *"0x4", "enter")
        before = session_of(app)
        await pilot.press("R")
        await pilot.pause(0.1)
        assert session_of(app) is before
        assert len(before.overlay.edits) == 1
