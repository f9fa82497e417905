"""Lines that are drawn: pieces of text, each with the name of a style of LineView."""

from __future__ import annotations

from typing import NamedTuple


class Piece(NamedTuple):
    """A text in one style; an empty style is the pane's."""

    text: str
    style: str = ""


Drawn = list[Piece]
