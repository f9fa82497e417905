"""All keys that work on a screen, and what its marks mean."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from types import MappingProxyType
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from inspector.tui import keys
from inspector.tui.closing import ClosesOnce
from inspector.tui.key import bindings, remapped
from inspector.tui.marks import MARKS

_KEYS_WIDTH = 14
_WIDTH = 76
#: Within the border and its padding, and beside a scrollbar.
_TEXT_WIDTH = _WIDTH - 6


class HelpScreen(ModalScreen[None], ClosesOnce):
    """The keys and the marks of the named screen."""

    DEFAULT_CSS = f"""
    HelpScreen {{ align: center middle; }}
    HelpScreen VerticalScroll {{ width: {_WIDTH}; max-width: 100%; height: auto; max-height: 100%;
        background: $panel; color: $line-text; border: round $primary; padding: 0 1; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.HELP)

    def __init__(self, screen_name: str, keymap: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__()
        self.screen_name = screen_name
        self.keymap = keymap

    def compose(self) -> ComposeResult:
        """One text."""
        with VerticalScroll():
            yield Static(self.text(), markup=False)

    def text(self) -> Text:
        """What the screen says."""
        text = Text()
        for title, lines in remapped(keys.help_of(self.screen_name), self.keymap):
            text.append(f"{title}\n", "bold")
            for line in lines:
                _append(text, line.written, line.text)
        for title, marks in MARKS[self.screen_name]:
            text.append(f"{title}\n", "bold")
            for mark, what in marks:
                _append(text, mark, what)
        return text


def _append(text: Text, head: str, sentence: str) -> None:
    """A key or a mark and what it means; what is long goes on below."""
    lines = wrap(sentence, _TEXT_WIDTH - _KEYS_WIDTH - 3)
    if len(head) > _KEYS_WIDTH:
        text.append(f"  {head}\n")
        head = ""
    text.append(f"  {head:<{_KEYS_WIDTH}} " + f"\n{' ' * (_KEYS_WIDTH + 3)}".join(lines) + "\n")
