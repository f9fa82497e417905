"""The mouse as hands expect: a click selects, a second enters, the wheel scrolls, keys of the footer are pressed."""

from __future__ import annotations

import pytest
from textual.events import MouseScrollDown

from inspector.cli.open import app_of
from inspector.tui.picture import opened, text_of
from inspector.tui.screens.world_lab import WorldLabScreen
from inspector.tui.widgets.compare_view import CompareView
from inspector.tui.widgets.drawn_view import DrawnView
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.property_list import PropertyList
from tests.tui.support import running


async def test_keys_of_the_footer_are_written_as_in_the_help() -> None:
    app = app_of("sim:guest-xfd")
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        footer = text_of(app).splitlines()[-1]
        for words in ("Space Events", "W Elsewhere", "A Against", "Space . Offered step", "? Help"):
            assert words in footer
        # A key of two words is pressed as both.
        lab = app.screen
        assert isinstance(lab, WorldLabScreen)
        told: list[str] = []
        lab.tell = told.append  # type: ignore[method-assign]
        await pilot.click(lab.query_one(KeyLine), offset=(footer.index("Offered"), 0))
        await pilot.pause()
        assert told == ["nothing is offered: the last event went well, or nobody knows better"]
        assert not lab.panel.is_open


async def test_a_second_click_on_a_component_opens_what_can_be_done_with_it() -> None:
    app = app_of("sim:guest-xfd")
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        lab = app.screen
        assert isinstance(lab, WorldLabScreen)
        await pilot.click(lab.matrix, offset=(3, 1))
        assert lab.matrix.cursor == 1
        assert not lab.panel.is_open
        await pilot.click(lab.matrix, offset=(3, 1))
        await pilot.pause()
        assert lab.panel.is_open


async def test_a_second_click_on_a_property_asks_for_its_value() -> None:
    app = app_of("model:neoverse-v1-v1:neoverse-n1")
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        await pilot.click(PropertyList, offset=(3, 4))
        await pilot.click(PropertyList, offset=(3, 4))
        await pilot.pause()
        assert app.screen.query_one(Prompt).is_open


async def test_the_wheel_scrolls_the_pane_under_it() -> None:
    async with running() as (app, pilot):
        fields = app.screen.query_one("FieldList", LineView)
        at, top = fields.cursor, fields.scroll_offset.y
        await pilot._post_mouse_events([MouseScrollDown], widget=fields, offset=(3, 3), button=0)
        assert fields.scroll_offset.y == top + 3
        assert fields.cursor == at


async def test_a_click_explains_a_gate_and_a_second_one_opens_it() -> None:
    app = app_of("sim:guest-xfd")
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot)
        lab = app.screen
        assert isinstance(lab, WorldLabScreen)
        gates = lab.query_one("#gates", DrawnView)
        y, wire = next(line for line in enumerate(text_of(app).splitlines()) if line[1].startswith(" guest kernel"))
        offset = (wire.index("╳") + 1, y - gates.region.y)
        await pilot.click(gates, offset=offset)
        assert "guest kernel, guest permission: closed" in text_of(app)
        assert "Space p, or a second click there" in text_of(app)
        assert not lab.session.world.steps
        await pilot.click(gates, offset=offset)
        await pilot.pause()
        assert [step.event for step in lab.session.world.steps] == ["arch_prctl REQ_XCOMP_GUEST_PERM 18"]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_click_on_a_column_of_the_matrix_selects_it(size: tuple[int, int]) -> None:
    app = app_of("sim:guest-xfd")
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        lab = app.screen
        assert isinstance(lab, WorldLabScreen)
        heading = next(line for line in text_of(app).splitlines() if line.startswith(" component"))
        columns = lab.query_one("#columns")
        await pilot.click(columns, offset=(heading.index("gperm"), columns.size.height - 1))
        await pilot.pause()
        assert "its guests may use it" in text_of(app)
        await pilot.click(lab.matrix, offset=(heading.index("perm"), lab.matrix.cursor - int(lab.matrix.scroll_y)))
        await pilot.pause()
        assert "the process may use it" in text_of(app)
        assert not lab.panel.is_open


async def test_a_click_on_a_column_of_the_comparison_selects_it() -> None:
    app = app_of("sample:zen5-kvm")
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        await pilot.press("c")
        await pilot.pause()
        view = app.screen.query_one(CompareView)
        names = next(line for line in text_of(app).splitlines() if "vcpu0_pattern" in line)
        await pilot.click("#names", offset=(names.index("vcpu0_pattern"), 0))
        assert (view.side, view.comparison.sides[view.side].name) == (1, "vcpu0_pattern")
        await pilot.click(view, offset=(names.index("vcpu0 set"), 5))
        assert (view.side, view.cursor) == (0, 5)
