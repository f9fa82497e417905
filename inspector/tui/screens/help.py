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

#: In every list.
LINES = (
    ("↑ ↓ k j", "a line"),
    ("PgUp PgDn", "a page (Ctrl-B Ctrl-F)"),
    ("Ctrl-U Ctrl-D", "half a page"),
    ("g G Home End", "first, last"),
)
#: On every screen.
PROGRAM = (
    "The program",
    (
        ("?", "these keys"),
        ("Ctrl-P", "command palette: every key by name"),
        ("s t", "screenshot (SVG and PNG in the current folder); next theme"),
        ("q", "one level up; from the lowest screen, out of the program"),
        ("Ctrl-Q", "out of the program"),
    ),
)
_KEYS = (
    (
        "Moving",
        (
            *LINES,
            ("Tab Shift-Tab", "the next pane: vCPUs, fields, bytes, detail"),
            ("[ ]", "the vCPU before, behind"),
            ("← → h l", "a byte (in the bytes); fold, unfold (in the fields)"),
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
            ("L", "the lab: what would KVM and Linux say to this vCPU"),
            ("c", "all vCPUs side by side; d there: only differences"),
            ("Space → ←", "unfold a register into bits or elements; → unfolds, ← folds"),
            ("f Esc", "show only fields whose path or meaning has a text; all again"),
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
            ("Y", "copy the command that prints it; with edits, the one that makes them"),
        ),
    ),
    PROGRAM,
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
    #: The keys, and the marks and columns that are explained below them.
    KEYS: ClassVar[Keys] = _KEYS
    MARKS: ClassVar[Keys] = (("Marks", _MARKS),)

    def compose(self) -> ComposeResult:
        """One text."""
        with VerticalScroll():
            yield Static(self.text(), markup=False)

    def text(self) -> Text:
        """What the screen says."""
        text = Text()
        for title, lines in (*self.KEYS, *self.MARKS):
            text.append(f"{title}\n", "bold")
            for key, what in lines:
                text.append(f"  {key:<14} {what}\n")
        return text
