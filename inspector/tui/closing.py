"""Screens that close once."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import Screen


class ClosesOnce(Screen[None]):
    """A screen that only closes itself: Textual's dismiss() takes whatever screen is on top.

    Two keys in a row, or a key and a command of the palette, would close the screen below too.
    """

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close, where this is the screen that is shown."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
