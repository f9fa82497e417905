"""The keys of the Fleet screens."""

from __future__ import annotations

from inspector.tui.key import Group, Key, Table, line, panes

FLEET: Table = (
    Group(
        "Moving",
        (
            panes("the list, the selected line"),
            line(
                "into the line: a class, its hosts, what is known of one; a guest, who refuses it, the move",
                Key("enter", "enter", "fleet.enter", "Into", footer=10),
            ),
            line("back", Key("escape", "app.up", "fleet.back", "Back")),
        ),
    ),
    Group(
        "Asking",
        (
            line(
                "who can move where: pools, classes, what splits them",
                Key("p", "view('lattice')", "fleet.lattice", "Pools", footer=20),
            ),
            line(
                "captured guests: which hosts take each, who refuses it and why",
                Key("c", "view('check')", "fleet.check", "Guests", footer=30),
            ),
            line(
                "hosts that are not as their siblings",
                Key("o", "view('odd')", "fleet.odd", "Odd", footer=40),
            ),
            line(
                "the best guest of all, and what each class gives up",
                Key("b", "view('baseline')", "fleet.baseline", "Baseline", footer=50),
            ),
            line(
                "what a newer kernel pins: a release, then hosts (7.3 rack7-*)",
                Key("f,colon", "ask", "fleet.forecast", "Forecast", footer=60),
            ),
        ),
    ),
    Group(
        "Finding",
        (
            line(
                "search hosts, guests and bits while typing; next, previous",
                Key("slash", "search", "fleet.search", "Search", footer=70),
                Key("n", "search_next", "fleet.next", "Next match"),
                Key("N", "search_previous", "fleet.previous", "Previous match"),
            ),
        ),
    ),
    Group(
        "Taking away",
        (
            line(
                "copy the name: of a host, a guest, a bit, a model", Key("y", "copy", "fleet.copy", "Copy", footer=80)
            ),
            line(
                "copy the command that prints the same",
                Key("Y", "copy_command", "fleet.copy_command", "Copy command"),
            ),
        ),
    ),
)
