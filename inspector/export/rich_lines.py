"""Lines of styled parts on a terminal, by rich."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

_LINES_A_PRINT = 256


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, as every other broken pipe."""
        raise  # noqa: PLE0704 - rich calls this in its except clause


def printer(out: TextIO) -> Callable[[Sequence[tuple[tuple[str, str], ...]]], None]:
    """What prints lines of parts, each with its style."""
    console = _Console(file=out, highlight=False, soft_wrap=True, emoji=False, markup=False)

    def put(lines: Sequence[tuple[tuple[str, str], ...]]) -> None:
        # Many lines a print: each print costs as much as ten lines.
        for first in range(0, len(lines), _LINES_A_PRINT):
            texts = [Text.assemble(*line) for line in lines[first : first + _LINES_A_PRINT]]
            console.print(Text("\n").join(texts))

    return put
