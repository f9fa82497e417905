"""``inspector tour``: both labs in five minutes."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.cli import arguments

_ABOUT = "Both labs in five minutes: what there is to see, and the key that goes on."
_EXAMPLES = "  inspector tour"


def run(words: Sequence[str]) -> int:
    """Show the tour in the terminal."""
    parser = arguments.parser("tour", _ABOUT, _EXAMPLES)
    parser.add_argument("--no-state", action="store_true", help="remember nothing, and forget it for this run")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    found = parser.parse_args(words)
    from inspector.tui import terminal

    terminal.require_screen()
    terminal.take_keys(terminal.keys_of_terminal(reads_input=False))
    from inspector.tui.tour_app import TourApp

    app = TourApp()
    code = terminal.run(app, mouse=not found.no_mouse, has_state=not found.no_state)
    if app.failure is not None:
        raise app.failure
    return code
