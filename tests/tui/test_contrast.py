"""What is painted can be read: contrast of the segments on screen, in every theme (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import pytest
from textual.color import BLACK, WHITE, Color
from textual.command import CommandList
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget

from inspector.cli.open import app_of
from inspector.tui import picture
from inspector.tui.base_app import BaseApp
from inspector.tui.contrast import ratio
from inspector.tui.picture import opened, photograph
from tests.tui.support import type_line

THEMES = ["textual-dark", "textual-light", "solarized-light", "catppuccin-latte"]
#: Panes whose text is held to 4.5; the rest is Textual's or decoration.
PANES = (
    "TargetTree, FieldList, HexPane, CompareView, PropertyList, ComponentMatrix, DrawnView, Timeline, "
    "TextPane, MigrationList, FeatureMatrix, CallList, KeyLine, #title, #names, #columns"
)


def text_region(widget: Widget) -> Region:
    """Where a pane has text: without its scrollbars."""
    region, text = widget.content_region, widget.scrollable_content_region
    return Region(region.x, region.y, min(region.width, text.width), min(region.height, text.height))


def unreadable(app: BaseApp) -> list[tuple[float, str]]:
    """Pieces of text in our panes with less contrast than text needs."""
    found = []
    strips = app.screen._compositor.render_strips()
    for widget in app.screen.query(PANES):
        region = text_region(widget)
        titles = [widget.region.y] if widget.border_title else []
        for y in (*titles, *range(region.y, min(region.bottom, len(strips)))):
            for segment in strips[y].crop(region.x, region.right):
                style = segment.style
                if segment.text.strip(" ─") and style and style.color and style.bgcolor:
                    colours = [Color.from_rich_color(colour) for colour in (style.color, style.bgcolor)]
                    if ratio(*colours) < 4.5 or style.dim:
                        found.append((round(ratio(*colours), 2), segment.text))
    return found


def test_the_ratio_is_that_of_wcag() -> None:
    assert ratio(Color.parse("#000"), Color.parse("#fff")) == pytest.approx(21)
    assert ratio(Color.parse("#777"), Color.parse("#fff")) == pytest.approx(4.48, abs=0.01)


async def check_every_theme(app: BaseApp, pilot: Pilot[int]) -> None:
    """What is on screen now, in one theme after the other."""
    for theme in THEMES:
        app.theme = theme
        await pilot.pause()
        assert unreadable(app) == [], theme


async def test_inspect_can_be_read() -> None:
    app = app_of("sample:amx/process.core")
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot)
        await type_line(pilot, "colon", "mxcsr")
        await type_line(pilot, "enter", "0x1fa0")
        await check_every_theme(app, pilot)
        await type_line(pilot, "colon", "tmm[1]")
        await pilot.press("tab")
        await check_every_theme(app, pilot)


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("sample:zen5-kvm", ["c", "d"]),
        ("sim:guest-xfd", ["n"] * 8),
        ("model:neoverse-v1-v1:neoverse-n1", ["b"]),
        ("sim:arm64-life-cycle", ["n"] * 8),
        ("sample:logs/refused-cpuid.strace.txt", []),
        ("sample:zen5-kvm", ["M", *"milan@6.1", "enter"]),
    ],
)
async def test_compare_and_the_labs_can_be_read(target: str, keys: list[str]) -> None:
    app = app_of(target)
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        await pilot.press(*keys)
        await check_every_theme(app, pilot)


def test_every_theme_has_readable_colours() -> None:
    app = app_of("sample:amx/process.core")
    for name, theme in app.available_themes.items():
        app.theme = name
        found = app.get_css_variables()
        if not theme.ansi:
            for ground in ("surface", "background"):
                for text in ("line-heading", "line-changed", "line-quiet"):
                    assert ratio(Color.parse(found[text]), Color.parse(found[ground])) >= 4.5, (name, text)
            for text, ground in (("on-title", "primary-background"), ("on-cursor", "primary"), ("on-mark", "mark")):
                on = Color.parse(found[ground])
                most = max(ratio(end, on) for end in (BLACK, WHITE))
                # The selected line is no harder to read than others, where its ground allows it.
                least = 7 if text != "on-mark" and most >= 7 else 4.5
                assert ratio(Color.parse(found[text]), on) >= least, (name, text)


def test_a_picture_of_sixteen_colours_can_be_read() -> None:
    """Headings, edges and signs are in bright colours; the line of the other pane is white on bright black."""
    ground, (_, *bright) = Color.parse("#292929"), [Color(*rgb) for rgb in list(picture._DARK.ansi_colors._colors)[8:]]
    assert min(ratio(colour, ground) for colour in bright) >= 4.5
    assert ratio(Color(*picture._DARK.ansi_colors[8]), WHITE) >= 4.5


@pytest.mark.parametrize(("theme", "ground"), [("ansi-light", "#ffffff"), ("ansi-dark", "#292929")])
def test_a_picture_of_an_ansi_theme_is_as_light_as_the_theme(theme: str, ground: str) -> None:
    """What such a theme leaves to the terminal."""
    app = app_of("sample:amx/process.core")
    app.theme = theme
    made = photograph(app, (80, 24), [], ("svg", "html"))
    assert f'<rect fill="{ground}"' in made["svg"].decode()
    assert f"background-color: {ground}" in made["html"].decode()


async def test_the_cursor_of_an_ansi_theme_is_not_in_the_terminals_default_colour() -> None:
    """It is on blue; the default is black where the terminal is light."""
    app = app_of("sample:amx/process.core")
    app.theme = "ansi-light"
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        (line,) = [strip for strip in app.screen._compositor.render_strips() if "header · header" in strip.text][:1]
        (segment,) = [segment for segment in line if "header" in segment.text]
        assert segment.style is not None
        assert segment.style.color == Color.parse("ansi_bright_white").rich_color


async def test_without_colours_the_selected_line_and_the_focus_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = app_of("sim:guest-xfd")
    async with app.run_test(size=(120, 35)) as pilot:
        await opened(app, pilot)
        await pilot.press(*["n"] * 7)
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        filters = app.get_line_filters()
        lines = {}
        for y, strip in enumerate(strips):
            for one in filters:
                strip = strip.apply_filter(one, Color.parse("#000"))
            styles = [segment.style for segment in strip if segment.style and segment.text.strip()]
            assert all(colour is None or colour.is_default for s in styles for colour in (s.color, s.bgcolor))
            lines[y] = (strip.text, [s for s in styles if s.reverse], [s for s in styles if s.underline])
        reverse = [text for text, found, _ in lines.values() if found and text.strip()]
        underlined = [text for text, _, found in lines.values() if found]
        assert [text.split()[1] for text in reverse if "xtiledata" in text] == ["xtiledata"]
        assert ["guest tileloadd 0" in text for text in underlined] == [True]
        await pilot.press("ctrl+p")
        await pilot.pause(0.1)
        selected = app.screen.query_one(CommandList)
        assert selected.get_visual_style("option-list--option-highlighted").underline
