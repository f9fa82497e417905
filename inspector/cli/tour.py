"""``inspector tour``: both labs in five minutes."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.cli import arguments
from inspector.cli.open import add_terminal, in_terminal

_ABOUT = "Both labs in five minutes: what there is to see, and the key that goes on."
_EXAMPLES = "  inspector tour"


def run(words: Sequence[str]) -> int:
    """Show the tour in the terminal."""
    parser = arguments.parser("tour", _ABOUT, _EXAMPLES)
    add_terminal(parser)
    found = parser.parse_args(words)
    from inspector.tui.tour_app import TourApp

    return in_terminal(TourApp, found)
