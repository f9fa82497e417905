"""The line at the bottom where a value, a search or a place is typed.

It has a layer of its own, above the panes' last line: none of them moves when it comes or goes. Without lines it is
still laid out, with no height: a widget that comes or goes gives all others a new place in the order of painting, and
Textual then sends the whole screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

#: As many words are shown of those that a text can become.
_SHOWN = 24


def beginning(words: Sequence[str]) -> str:
    """What all words begin with."""
    first, last = min(words, default=""), max(words, default="")
    same = next((at for at, letter in enumerate(first) if last[at : at + 1] != letter), len(first))
    return first[:same]


class Completions:
    """What a text that is being typed becomes: first what all words have in common, then one word after another."""

    def __init__(self, complete: Callable[[str], Sequence[str]]) -> None:
        self._complete = complete
        self._words: Sequence[str] = ()
        self._at = -1

    def go_on(self, text: str) -> tuple[str, Sequence[str]]:
        """The text that follows, and all words that the first one can become."""
        if self._at >= 0 and self._words and text == self._words[self._at]:
            self._at = (self._at + 1) % len(self._words)
            return self._words[self._at], self._words
        self._words, self._at = self._complete(text), -1
        common = beginning(self._words)
        if not self._words or len(common) > len(text):
            return common or text, self._words
        self._at = 0
        return self._words[0], self._words


class Prompt(Vertical):
    """A label and an input; above them what is wrong with what was typed."""

    DEFAULT_CSS = """
    Prompt { layer: prompt; dock: bottom; margin: 0 0 1 0; height: auto; background: $panel; }
    Prompt Horizontal { height: 1; display: none; }
    Prompt Label { width: auto; max-width: 60%; padding: 0 1 0 0; color: $accent; text-style: bold; }
    Prompt Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
    Prompt #words { height: auto; max-height: 3; display: none; color: $line-quiet; }
    Prompt #wrong { height: auto; display: none; color: $error; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.PROMPT)

    class Submitted(Message):
        """The user pressed Enter."""

        def __init__(self, purpose: str, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class Changed(Message):
        """What is typed has changed, in a line that is followed while one types."""

        def __init__(self, purpose: str, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class Stepped(Message):
        """To another one of what was found so far, in such a line."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Cancelled(Message):
        """The user left the line: nothing is to be done."""

    class Closed(Message):
        """The line is gone."""

    purpose = ""
    #: What the typed text can become.
    completions: Completions | None = None
    #: Whether the screen follows while one types.
    live = False

    def compose(self) -> ComposeResult:
        """The complaint, what the text can become, and below them a label and an input."""
        yield Static("", id="wrong", markup=False)
        yield Static("", id="words", markup=False)
        with Horizontal():
            yield Label("", markup=False)
            yield Input(compact=True, select_on_focus=False, id="prompt-input")

    def ask(
        self,
        purpose: str,
        label: str,
        value: str = "",
        complete: Callable[[str], Sequence[str]] | None = None,
        *,
        live: bool = False,
    ) -> None:
        """Show the line with a label and what it starts with, selected so that typing replaces it.

        ``complete`` gives what a text can become: Tab takes it. ``live``: every change is told, as Changed.
        """
        self.purpose, self.live = purpose, False
        self.completions = Completions(complete) if complete is not None else None
        self.query_one("#words").styles.display = "none"
        self.query_one(Label).update(visible(label))
        self.query_one("#wrong").styles.display = "none"
        box = self.query_one(Input)
        box.value = value
        box.selection = Selection(0, len(value))
        # Shown and focused at once: what is typed right behind the key must not go elsewhere.
        self.query_one(Horizontal).styles.display = "block"
        self.screen.set_focus(box)
        self.live = live

    @property
    def is_open(self) -> bool:
        """Whether something can be typed."""
        return bool(self.query_one(Horizontal).styles.display == "block")

    def label(self, text: str) -> None:
        """Another label: how much was found."""
        self.query_one(Label).update(visible(text))

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
        if not self.is_open:
            self._hide()

    def close(self) -> None:
        """Hide the line."""
        self._hide()
        self.post_message(self.Closed())

    def _hide(self) -> None:
        for part in self.children:
            part.styles.display = "none"

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell, where the screen follows."""
        event.stop()
        if self.live:
            self.post_message(self.Changed(self.purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass on what was typed."""
        event.stop()
        self.post_message(self.Submitted(self.purpose, event.value))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tab completes where something can, else it goes to the next pane; up and down where the screen follows."""
        if action == "complete":
            return self.completions is not None
        if action == "step":
            return self.live
        return super().check_action(action, parameters)

    def action_complete(self) -> None:
        """Go on with what the text can become; again: the next word."""
        assert self.completions is not None
        box = self.query_one(Input)
        box.value, words = self.completions.go_on(box.value)
        box.cursor_position = len(box.value)
        shown = self.query_one("#words", Static)
        shown.update(visible("  ".join(words[:_SHOWN])))
        shown.styles.display = "block" if len(words) > 1 else "none"

    def action_cancel(self) -> None:
        """Close without doing anything."""
        self.live = False
        self.post_message(self.Cancelled())
        self.close()

    def action_step(self, by: int) -> None:
        """To another one of what was found."""
        self.post_message(self.Stepped(by))
