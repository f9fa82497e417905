"""The line at the bottom where a value, a search or a place is typed.

It has a layer of its own, above the panes' last line: none of them moves when it comes or goes.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static
from textual.widgets.input import Selection

from inspector.capture.errors import visible
from inspector.tui import keys
from inspector.tui.key import bindings


class Prompt(Vertical):
    """A label and an input; above them what is wrong with what was typed."""

    DEFAULT_CSS = """
    Prompt { layer: prompt; dock: bottom; margin: 0 0 1 0; height: auto; display: none; background: $panel; }
    Prompt Horizontal { height: 1; }
    Prompt Label { width: auto; max-width: 60%; padding: 0 1 0 0; color: $accent; text-style: bold; }
    Prompt Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
    Prompt #wrong { height: auto; display: none; color: $error; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.PROMPT)

    class Submitted(Message):
        """The user pressed Enter."""

        def __init__(self, purpose: str, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class Closed(Message):
        """The line is gone."""

    purpose = ""

    def compose(self) -> ComposeResult:
        """The complaint, and below it a label and an input."""
        yield Static("", id="wrong", markup=False)
        with Horizontal():
            yield Label("", markup=False)
            yield Input(compact=True, select_on_focus=False, id="prompt-input")

    def ask(self, purpose: str, label: str, value: str = "") -> None:
        """Show the line with a label and what it starts with, selected so that typing replaces it."""
        self.purpose = purpose
        self.query_one(Label).update(visible(label))
        self.query_one("#wrong").styles.display = "none"
        box = self.query_one(Input)
        box.value = value
        box.selection = Selection(0, len(value))
        # Shown and focused at once: what is typed right behind the key must not go elsewhere.
        self.query_one(Horizontal).styles.display = "block"
        self.styles.display = "block"
        self.screen.set_focus(box)

    def refuse(self, why: str) -> None:
        """Keep the line open, for what was typed can be mended, and say what is wrong."""
        wrong = self.query_one("#wrong", Static)
        wrong.update(visible(why))
        wrong.styles.display = "block"

    def give_up(self, why: str) -> None:
        """Close the line; what is wrong stays until the next key."""
        self.refuse(why)
        self.query_one(Horizontal).styles.display = "none"
        self.post_message(self.Closed())

    def hush(self) -> None:
        """A key has come: what was wrong has been read."""
        if self.query_one(Horizontal).styles.display == "none":
            self.styles.display = "none"

    def close(self) -> None:
        """Hide the line."""
        self.styles.display = "none"
        self.post_message(self.Closed())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass on what was typed."""
        event.stop()
        self.post_message(self.Submitted(self.purpose, event.value))

    def action_cancel(self) -> None:
        """Close without doing anything."""
        self.close()
