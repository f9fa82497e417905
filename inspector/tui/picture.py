"""Pictures of the screen: SVG, PNG, HTML and text."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.segment import Segment, Segments
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, TerminalTheme
from textual.app import App
from textual.color import Color
from textual.pilot import Pilot

from inspector.capture.errors import UsageError
from inspector.export.files import save_bytes

FORMATS = ("svg", "png", "html", "txt")
_FONT = Path(__file__).parent / "fonts" / "DejaVuSansMono.ttf"
#: Ground and text are Rich's for pictures. Its sixteen colours are not: there bright green is darker than green, and
#: hardly seen on the ground. Here each bright one has a contrast of 4.5 on it, and bright black has it below white.
_NORMAL = "#4b4e55 #cc555a #6ea54b #d0a03c #326eb9 #aa6eaf #469baf #c5c8c6"
_BRIGHT = "#666666 #ff7373 #8ccd5f #f0c85f #64aaf0 #d791dc #69cdd7 #ffffff"
_DARK = TerminalTheme(
    (41, 41, 41),
    (197, 200, 198),
    [Color.parse(colour).rgb for colour in _NORMAL.split()],
    [Color.parse(colour).rgb for colour in _BRIGHT.split()],
)


def svg_of(app: App[Any]) -> str:
    """The screen as SVG. The font is named by family only: nothing is fetched from the network."""
    console = _console(app)
    # As App.export_screenshot, which knows dark terminals only; Textual has no public way to its painted screen.
    console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
    svg = console.export_svg(title="inspector", theme=_terminal_colours(app))
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    return svg.replace("Fira Code", "DejaVu Sans Mono, Fira Code, Menlo, Consolas")


def png_of(svg: str) -> bytes:
    """An SVG of a screen as PNG, drawn with the font that comes with the program."""
    import resvg_py

    svg = svg.replace("DejaVu Sans Mono, Fira Code, Menlo, Consolas", "DejaVu Sans Mono")
    svg = re.sub(r"font-family:\s*arial", "font-family: DejaVu Sans Mono", svg)
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_files=[str(_FONT)], skip_system_fonts=True, zoom=1))


def _terminal_colours(app: App[Any]) -> TerminalTheme:
    """What the theme leaves to the terminal: the ansi themes its sixteen colours and the ground."""
    return _DARK if app.current_theme.dark else DEFAULT_TERMINAL_THEME


def _console(app: App[Any]) -> Console:
    """A console of the screen's size that records what is printed."""
    width, height = app.size
    return Console(
        width=width,
        height=height,
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )


def _console_of(app: App[Any]) -> Console:
    """The screen's lines in a recording console."""
    console = _console(app)
    # Textual has no public way to its painted lines.
    lines = app.screen._compositor.render_strips()
    for line in lines:
        console.print(Segments([*line, Segment("\n")]), end="")
    return console


def html_of(app: App[Any]) -> str:
    """The screen as an HTML page."""
    return _console_of(app).export_html(theme=_terminal_colours(app))


def text_of(app: App[Any]) -> str:
    """The screen as plain text."""
    text = _console_of(app).export_text()
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def picture_of(app: App[Any], suffix: str) -> bytes:
    """The screen in the format of a file name's suffix."""
    if suffix == "png":
        return png_of(svg_of(app))
    makers = {"svg": svg_of, "html": html_of, "txt": text_of}
    return makers[suffix](app).encode()


def save_pictures(app: App[Any]) -> list[str]:
    """Save SVG and PNG under the next free name in the current folder. Raises OutputError."""
    number = 1
    while os.path.exists(f"inspector-{number}.svg") or os.path.exists(f"inspector-{number}.png"):
        number += 1
    pictures = {f"inspector-{number}.{suffix}": picture_of(app, suffix) for suffix in ("svg", "png")}
    for name, data in pictures.items():
        save_bytes(name, data)
    return list(pictures)


def suffix_of(path: str) -> str:
    """The picture format that a file name asks for; UsageError for none of ours."""
    suffix = path.rpartition(".")[2].lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path}: the name has to end in .{', .'.join(FORMATS)}")
    return suffix


def check_keys(keys: Sequence[str]) -> None:
    """UsageError for a key that no keyboard has."""
    from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character

    known = {*(key.value for key in Keys), *KEY_NAME_REPLACEMENTS.values()}
    for key in keys:
        base = key.rpartition("+")[2] or key
        if len(base) > 1 and base not in known and key_to_character(base) is None:
            raise UsageError(f"--press {key}: no such key; letters are, and enter, down, question_mark, ctrl+r ...")


async def opened(app: Any, pilot: Pilot[Any]) -> None:
    """Wait until what was asked for is on screen, or the app has given up on it."""
    while not app.is_ready:
        await pilot.pause(0.01)
    await pilot.pause()


def photograph(app: App[Any], size: tuple[int, int], keys: Sequence[str], suffixes: Sequence[str]) -> dict[str, bytes]:
    """Run an app without a terminal, press keys, and take pictures."""

    async def run() -> dict[str, bytes]:
        async with app.run_test(size=size) as pilot:
            await opened(app, pilot)
            for key in keys:
                await pilot.press(key)
            await opened(app, pilot)
            if app.return_code or getattr(app, "failure", None):
                return {}
            return {suffix: picture_of(app, suffix) for suffix in suffixes}

    return asyncio.run(run())
