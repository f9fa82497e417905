"""Lines of parts, each with a style that a terminal shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

#: Parts of a line with their styles, in rich's words.
Line = tuple[tuple[str, str], ...]
Print = Callable[[Sequence[Line]], None]


def printer_for(out: TextIO) -> Print:
    """Rich for a terminal. Elsewhere the same lines without styles: rich takes 60 us for each, and most of a start."""
    if out.isatty() or os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE"):
        from inspector.export.rich_lines import printer

        return printer(out)

    def put(lines: Sequence[Line]) -> None:
        out.write("".join([f"{plain_text(line)}\n" for line in lines]))

    return put


def plain_text(line: Line) -> str:
    """A line without its styles."""
    return "".join([text for text, _ in line])
