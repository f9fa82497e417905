"""All keys that work now, and what the marks mean."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from inspector.tui.closing import ClosesOnce

Keys = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]

_KEYS = (
    (
        "Moving",
        (
            ("↑ ↓ k j", "a line"),
            ("PgUp PgDn", "a page"),
            ("g G", "first, last"),
            ("Tab Shift-Tab", "the next pane: vCPUs, fields, bytes, detail"),
            ("[ ]", "the vCPU before, behind"),
            ("← → h l", "a byte (in the bytes)"),
        ),
    ),
    (
        "Finding",
        (
            ("/ n N", "search paths, meanings and values; next, previous"),
            (":", "go to a path (xsave.zmm[3]), an offset (0x240), a vCPU (#7)"),
        ),
    ),
    (
        "Looking",
        (
            ("Space", "unfold a register into bits or elements"),
            ("f", "show only fields whose path or meaning has a text"),
            ("c", "all vCPUs side by side; d there: only differences"),
            ("e E", "element type of vectors and tiles: x8 ... f64"),
            ("a", "padding and reserved bytes too, or only where they hold something"),
            ("z", "the detail pane over the whole screen, and back"),
        ),
    ),
    (
        "Editing (the file is never written)",
        (
            ("Space", "toggle a bit"),
            ("Enter", "type a value: 0x1f, 31, -1, 0b11; 1.5 for float elements"),
            ("u Ctrl-R", "undo, redo"),
        ),
    ),
    (
        "Taking away",
        (
            ("y", "copy the value (OSC 52)"),
            ("Y", "copy the command that prints it"),
            ("s", "screenshot: SVG and PNG in the current folder"),
        ),
    ),
    (
        "The program",
        (
            ("Ctrl-P", "command palette"),
            ("t", "next theme"),
            ("q", "quit"),
        ),
    ),
)

_MARKS = (
    ("▸ ▾", "folded, unfolded"),
    ("~", "edited"),
    ("initial", "the component's XSTATE_BV bit is 0: its initial value is shown, not the bytes"),
    ("not captured", "the file does not hold it"),
    ("guess", "nothing in the capture says where components lie: the layout is an assumption"),
)


class HelpScreen(ModalScreen[None], ClosesOnce):
    """The keys and the marks."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen VerticalScroll { width: 76; max-width: 100%; height: auto; max-height: 100%;
        background: $panel; border: round $primary; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Close", id="help.close")]

    def compose(self) -> ComposeResult:
        """One text."""
        with VerticalScroll():
            yield Static(self.text(), markup=False)

    def text(self) -> Text:
        """What the screen says."""
        return help_text()


def keys_text(groups: Keys) -> Text:
    """Groups of keys as rich text."""
    text = Text()
    for title, keys in groups:
        text.append(f"{title}\n", "bold")
        for key, what in keys:
            text.append(f"  {key:<14} {what}\n")
    return text


def help_text() -> Text:
    """The help of the Inspect screen."""
    text = keys_text(_KEYS)
    text.append("Marks\n", "bold")
    for mark, what in _MARKS:
        text.append(f"  {mark:<14} {what}\n")
    return text
