"""How much is sent to the terminal for what one does most: over a slow line that is what people feel."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from time import monotonic

import pyte
import pytest
from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from inspector.cli.open import app_of
from inspector.tui.base_app import BaseApp
from inspector.tui.sent import Shown
from tests.tui.pseudo_terminal import program
from tests.tui.support import opened

#: Bytes that a key may send at 160 by 45, and those of a line down or of an event.
MOST, LITTLE = 8 * 1024, 4 * 1024
_PATIENCE_SECONDS = 5


def sent_of(app: BaseApp) -> list[str]:
    """What the application sends, from now on: without a terminal nothing is."""
    sent: list[str] = []
    changes = app.shown.changes

    def rendered(update: CompositorUpdate) -> CompositorUpdate:
        sent.append(changes(update).render_segments(app.console))
        return update

    app.shown.changes = rendered  # type: ignore[method-assign]
    return sent


@pytest.mark.parametrize(
    ("target", "ahead", "keys", "most"),
    [
        ("sample:amx/process.core", (), ("slash", "escape", "colon", "escape", "tab", "j"), MOST),
        ("sample:amx/process.core", (), ("j", "j", "j", "k"), LITTLE),
        ("sample:zen5-kvm", ("c",), ("slash", "escape", "greater_than_sign"), MOST),
        ("sample:zen5-kvm", ("c",), "jjjj", LITTLE),
        ("sample:zen5-kvm", ("exclamation_mark",), ("j",), LITTLE),
        ("sim:guest-xfd", (), "nnuk", LITTLE),
        ("sim:guest-xfd", ("n",), ("space", "v", "space", "escape", "space", "x", "w", "u", "W", "escape"), MOST),
        ("sim:guest-xfd", ("n", "n", "n", "n", "T"), "kkkj", LITTLE),
        ("sim:arm64-life-cycle", (), "nnuj", LITTLE),
        ("sim:arm64-life-cycle", ("n",), ("space", "v", "space", "escape", "w", "u", "W", "escape"), MOST),
    ],
)
async def test_keys_send_little(target: str, ahead: tuple[str, ...], keys: tuple[str, ...] | str, most: int) -> None:
    app = app_of(target)
    sent = sent_of(app)
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot)
        await pilot.press(*ahead)
        await pilot.pause()
        sizes = []
        for key in keys:
            sent.clear()
            await pilot.press(key)
            await pilot.pause()
            sizes.append(sum(len(text.encode()) for text in sent))
        assert max(sizes) <= most, sizes
        assert sizes[0] > 0


async def test_all_again_where_another_program_wrote() -> None:
    app = app_of("sample:amx/process.core")
    sent = sent_of(app)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        sent.clear()
        await pilot.press("ctrl+l")
        await pilot.pause()
        assert "xcomp_bv" in "".join(sent)


def test_all_again_when_the_program_goes_on() -> None:
    with program("open", "sample:amx/process.core") as terminal:
        terminal.wait_for("xcomp_bv")
        os.kill(terminal.child, signal.SIGTSTP)
        os.waitpid(terminal.child, os.WUNTRACED)
        terminal.read(0.1)
        terminal.screen.reset()
        os.kill(terminal.child, signal.SIGCONT)
        terminal.wait_for("xcomp_bv")
        terminal.type("q")


def looks(screen: pyte.Screen) -> Iterator[tuple[object, ...]]:
    """What each cell shows; of a blank its ground alone."""
    for y in range(screen.lines):
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            blank = (cell.data, cell.bg, cell.reverse, cell.underscore, cell.strikethrough)
            yield (y, x, *blank) if cell.data == " " else (y, x, *blank, cell.fg, cell.bold, cell.italics)


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("sim:guest-xfd", ("n", "space", "x", "t", "question_mark", "q")),
        ("sim:guest-xfd", ("n", "slash", "escape")),
        ("sim:arm64-life-cycle", ("n", "W", "escape", "T", "q")),
        ("sample:zen5-kvm", ("c", "j", "j")),
    ],
)
async def test_the_terminal_shows_what_textual_painted(target: str, keys: tuple[str, ...]) -> None:
    app = app_of(target)
    sent = sent_of(app)
    shown, painted = pyte.Screen(80, 24), pyte.Screen(80, 24)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        # Looking takes away what is still to be painted: nothing may be under way any more.
        count, until = -1, monotonic() + _PATIENCE_SECONDS
        while count != len(sent) and monotonic() < until:
            count = len(sent)
            await asyncio.sleep(0.4)
        pyte.Stream(shown).feed("".join(sent))
        update = app.screen._compositor.render_full_update()
        # Strips and styles keep what they were once rendered to, also for a picture, which has more colours.
        update.strips = [[Strip(list(strip)) for strip in line] for line in update.strips]
        for style in {id(one): one for line in update.strips for strip in line for _, one, _ in strip if one}.values():
            style._ansi = None
        pyte.Stream(painted).feed(update.render_segments(app.console))
        assert list(looks(shown)) == list(looks(painted))


RED, GREEN = Style(color="red", bgcolor="black"), Style(color="green", bgcolor="black")


def painted(shown: Shown, console: object, *segments: Segment) -> str:
    """What painting one line sends."""
    strip = Strip(segments)
    update = LayoutUpdate([[strip]], Region(0, 0, strip.cell_length, 1))
    return shown.changes(update).render_segments(console)  # type: ignore[arg-type]


def test_what_is_shown_is_not_sent() -> None:
    console, shown = BaseApp().console, Shown()
    first = painted(shown, console, Segment("one two three", RED))
    assert first.startswith("\x1b[1;1H\x1b[0;31;40mone two three")
    assert painted(shown, console, Segment("one two three", RED)) == ""
    shown.forget()
    assert painted(shown, console, Segment("one two three", RED)) == first


def test_a_part_of_a_line() -> None:
    console, shown = BaseApp().console, Shown()
    painted(shown, console, Segment("one two three", RED))
    assert painted(shown, console, Segment("one 2.. three", RED)) == "\x1b[1;5H\x1b[0;31;40m2..\x1b[m"
    # A word in another colour: the blanks around it are what they were.
    assert (
        painted(shown, console, Segment("one 2..", RED), Segment(" three", GREEN))
        == "\x1b[1;9H\x1b[0;32;40mthree\x1b[m"
    )


def test_two_parts_are_one_where_moving_costs_more() -> None:
    console, shown = BaseApp().console, Shown()
    painted(shown, console, Segment("a two b               c", RED))
    assert painted(shown, console, Segment("A two B               C", RED)) == (
        "\x1b[1;1H\x1b[0;31;40mA two B\x1b[1;23HC\x1b[m"
    )


def test_an_underlined_blank_is_no_blank() -> None:
    console, shown = BaseApp().console, Shown()
    painted(shown, console, Segment("a b", RED))
    assert " " in painted(shown, console, Segment("a b", RED + Style(underline=True)))


@pytest.mark.parametrize("text", ["\N{CJK UNIFIED IDEOGRAPH-4E00}b", "e\N{COMBINING ACUTE ACCENT}b"])
def test_signs_of_another_width_are_sent_whole(text: str) -> None:
    console, shown = BaseApp().console, Shown()
    first = painted(shown, console, Segment(text, RED))
    assert text in first
    assert painted(shown, console, Segment(text, RED)) == first
    # What stands there then is sent, whatever it was before.
    assert "xyz" in painted(shown, console, Segment("xyz", RED))


def test_links_are_sent_whole() -> None:
    console, shown = BaseApp().console, Shown()
    link = RED + Style(link="https://www.kernel.org/")
    assert painted(shown, console, Segment("a", link)) == painted(shown, console, Segment("a", link)) != ""
