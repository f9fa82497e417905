"""The keys of the screens that only look: compare and timeline, and the bytes of a simulated machine."""

from __future__ import annotations

from typing import ClassVar

from inspector.tui.screens.help import LINES, PROGRAM, HelpScreen, Keys


class CompareHelpScreen(HelpScreen):
    """All keys of the Compare screen."""

    KEYS: ClassVar[Keys] = (
        ("Moving", (*LINES, ("← → h l", "vCPUs to the left and right, where not all fit"))),
        (
            "Looking",
            (
                ("d", "all fields, or only those that differ"),
                ("/ f", "only paths with a text; an empty text shows all again"),
                ("Esc c", "back"),
            ),
        ),
        PROGRAM,
    )
    MARKS: ClassVar[Keys] = (("Marks", (("≠", "the vCPUs differ"), ("-", "this vCPU has no such field"))),)


class TimelineHelpScreen(HelpScreen):
    """All keys of the Timeline screen."""

    KEYS: ClassVar[Keys] = (
        ("Moving", (*LINES, ("Tab Shift-Tab", "the next pane: events, state"), ("Esc T", "back"))),
        PROGRAM,
    )
    MARKS: ClassVar[Keys] = (
        ("Marks", (("≠", "the event changed it: before, after"), ("!", "not as the checks say it should be"))),
    )


class SimulatedHelpScreen(HelpScreen):
    """All keys of the Inspect screen over a lab."""

    KEYS: ClassVar[Keys] = (("The lab", (("Esc", "back to the lab; edits of the bytes stay here"),)), *HelpScreen.KEYS)
