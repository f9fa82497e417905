"""What lint finds: marks on fields, and the list."""

import pytest

from tests.tui.support import golden, running, session_of

SIZES = ((80, 24), (160, 45))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_list(size: tuple[int, int]) -> None:
    async with running("sample:amx", size) as (app, pilot):
        await pilot.press("exclamation_mark")
        await pilot.pause()
        await golden(app, f"findings-{size[0]}x{size[1]}")


async def test_enter_leads_to_the_field_and_the_field_is_marked() -> None:
    async with running("sample:amx") as (app, pilot):
        await pilot.press("exclamation_mark", "enter")
        await pilot.pause()
        session = session_of(app)
        assert app.screen is app.inspect
        assert session.vcpu_number == 1
        field = session.field()
        assert field is not None
        assert field.path == "cpuid.7.0.edx.amx_tile"
        assert session.notes()[field.path].brief == "X0411 error"


async def test_an_edit_makes_a_mark_and_its_undo_takes_it_away() -> None:
    async with running("sample:amx") as (app, _):
        session = session_of(app)
        assert session.jump("xcr.xcr0")
        assert "xcr.xcr0" not in session.notes()
        session.set_value("5")
        assert session.notes()["xcr.xcr0"].brief == "X0106 error"
        session.undo()
        assert "xcr.xcr0" not in session.notes()
