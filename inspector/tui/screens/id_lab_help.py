"""The keys of the ID-register lab."""

from __future__ import annotations

from typing import ClassVar

from inspector.tui.screens.help import LINES, PROGRAM, HelpScreen, Keys

_KEYS = (
    (
        "Moving",
        (
            *LINES,
            ("/ n", "search by name or register; again"),
            ("b", "the next line that is in the way"),
            ("a", "all properties, or only those that can change"),
            ("Tab Shift-Tab", "the next pane: properties, outcome"),
        ),
    ),
    (
        "Trying",
        (
            ("Space", "the next accepted value; a switch or length on or off"),
            ("→ ← + -", "the next and the previous value, accepted or not"),
            (": Enter", "type a value, feat_AES=aes or SYSREG_ID_AA64ISAR0_EL1_AES=1"),
            ("m", "another model; - for the host's own (-cpu host)"),
            ("u", "take the last change back"),
        ),
    ),
    (
        "Looking",
        (
            ("i", "summary: usable or not, conflicts, blockers"),
            ("w", "what a VMM calls, and what KVM answers"),
            ("o S", "its registers in the Inspect screen; as a capture"),
            ("y", "copy the command that shows the same"),
            ("Esc", "back"),
        ),
    ),
    PROGRAM,
)
_MARKS = (
    (
        "Columns",
        (
            ("host", "the most that a guest may have here"),
            ("model guest", "what the model says; what the guest asks for"),
            ("[value]", "the guest's value among the accepted ones"),
            ("✗ ~", "it blocks; it is not the model's value"),
        ),
    ),
)


class IdLabHelpScreen(HelpScreen):
    """All keys of the ID-register lab."""

    KEYS: ClassVar[Keys] = _KEYS
    MARKS: ClassVar[Keys] = _MARKS
