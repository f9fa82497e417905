"""The keys of the start screen."""

from __future__ import annotations

from inspector.tui.key import Group, Key, Table, line

START: Table = (
    Group(
        "Opening",
        (
            line("open it; q there comes back", Key("enter", "enter", "start.open", "Open", footer=5)),
            line(
                "narrow the list while typing; all again",
                Key("slash", "filter", "start.filter", "Filter", footer=30),
                Key("escape", "clear", "start.clear", "All again"),
            ),
            line(
                "open a file or any TARGET by its name; Tab completes",
                Key("colon", "ask", "start.ask", "Open by name", footer=40),
            ),
            line("copy the command that opens it", Key("y", "copy", "start.copy", "Copy command", footer=60)),
        ),
    ),
    Group(
        "Moving",
        (
            line(
                "the next group, the one before",
                Key("right_square_bracket,n", "heading(1)", "start.group_on", "Next group", footer=50),
                Key("left_square_bracket,N", "heading(-1)", "start.group_back", "Previous group"),
            ),
        ),
    ),
)
