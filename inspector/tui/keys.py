"""Every key, once: what it does, what the footer, the palette and the help call it, on which screen.

Bindings, footers and help screens are made from these tables. Those of panes are a part of the help of their screens.
"""

from __future__ import annotations

from inspector.tui.fleet_keys import FLEET
from inspector.tui.key import Group, Key, Table, line, merged, panes, without
from inspector.tui.lab_keys import AGAINST, ARM64_LAB, ID_LAB, TIMELINE, XSTATE_LAB
from inspector.tui.migration_keys import MIGRATION
from inspector.tui.start_keys import START

PROGRAM: Table = (
    Group(
        "The program",
        (
            line(
                "one level up; from the lowest, out of the program",
                Key("q", "leave", "app.leave", "Quit", footer=10),
                Key("q", "up", "app.up", "Back", footer=10),
            ),
            line("these keys", Key("question_mark", "help", "app.help", "Help", footer=20)),
            line("command palette: every key by name", Key("ctrl+p", "command_palette", "app.palette", "Palette")),
            line(
                "screenshot (SVG and PNG in the current folder); next theme",
                Key("s", "picture", "app.picture", "Screenshot"),
                Key("t", "next_theme", "app.theme", "Next theme"),
            ),
            line(
                "paint all again, where another program wrote over it",
                Key("ctrl+l", "repaint", "app.repaint", "Paint again"),
            ),
            line("out of the program", Key("ctrl+q", "quit", "app.quit", "Quit at once")),
        ),
    ),
)

HELP: Table = (Group("Help", (line("close", Key("escape,question_mark,q", "dismiss", "help.close", "Close")),)),)

PROMPT: Table = (
    Group(
        "Typing",
        (
            line("leave the line", Key("escape", "cancel", "prompt.cancel", "Cancel", footer=10)),
            line(
                "of what is found while typing, the one before, behind",
                Key("up", "step(-1)", "prompt.up", "Previous"),
                Key("down", "step(1)", "prompt.down", "Next"),
            ),
            line(
                "what the text can become, where something can; again: the next one",
                Key("tab", "complete", "prompt.complete", "Complete", footer=20),
            ),
        ),
    ),
)

TOUR: Table = (
    Group(
        "The tour",
        (
            line(
                "the next stop, the one before",
                Key("f2", "stop(1)", "tour.on", "Next stop"),
                Key("f3", "stop(-1)", "tour.back", "Stop before"),
            ),
        ),
    ),
)

# Panes

LINES: Table = (
    Group(
        "Moving",
        (
            line("a line", Key("up,k", "move(-1)", "line.up", "Up"), Key("down,j", "move(1)", "line.down", "Down")),
            line(
                "a page",
                Key("pageup,ctrl+b", "page(-1)", "line.page_up", "Page up"),
                Key("pagedown,ctrl+f", "page(1)", "line.page_down", "Page down"),
            ),
            line(
                "half a page",
                Key("ctrl+u", "half_page(-1)", "line.half_up", "Half a page up"),
                Key("ctrl+d", "half_page(1)", "line.half_down", "Half a page down"),
            ),
            line(
                "first, last",
                Key("home,g", "edge(-1)", "line.first", "First line"),
                Key("end,G", "edge(1)", "line.last", "Last line"),
            ),
        ),
    ),
)

FIELDS: Table = (
    Group(
        "Moving",
        (
            line(
                "fold, unfold (in the fields)",
                Key("left,h", "fold", "fields.fold", "Fold"),
                Key("right,l", "unfold", "fields.unfold", "Unfold"),
            ),
        ),
    ),
)

BYTES: Table = (
    Group(
        "Moving",
        (
            line(
                "a byte (in the bytes)",
                Key("left,h", "step(-1)", "hex.left", "Byte left"),
                Key("right,l", "step(1)", "hex.right", "Byte right"),
            ),
        ),
    ),
)

# Inspect

INSPECT: Table = (
    Group(
        "Moving",
        (
            panes("vCPUs, fields, bytes, detail"),
            line(
                "the vCPU before, behind",
                Key("left_square_bracket", "vcpu(-1)", "inspect.vcpu_back", "Previous vCPU"),
                Key("right_square_bracket", "vcpu(1)", "inspect.vcpu_on", "Next vCPU", footer=130),
            ),
        ),
    ),
    Group(
        "Editing (the file is never written)",
        (
            line(
                "toggle a bit; unfold a register into bits or elements",
                Key("space", "flip", "inspect.toggle", "Toggle", footer=10),
            ),
            line(
                "type a value: 0x1f, 31, -1, 0b11; 1.5 for floats",
                Key("enter", "edit", "inspect.edit", "Edit", footer=20),
            ),
            line(
                "undo, redo",
                Key("u", "undo", "inspect.undo", "Undo", footer=30),
                Key("ctrl+r", "redo", "inspect.redo", "Redo"),
            ),
            line(
                "save the edited capture as a new file (.vcpu)",
                Key("S", "save", "inspect.save", "Save edits", footer=160),
            ),
            line("the edits in a list", Key("v", "edits", "inspect.edits", "Edits")),
        ),
    ),
    Group(
        "Finding",
        (
            line(
                "search names, bits, elements, meanings, bytes (0f ae 29); * before it: in all vCPUs; next, previous",
                Key("slash", "search", "inspect.search", "Search", footer=40),
                Key("n", "search_next", "inspect.next", "Next match", footer=140),
                Key("N", "search_previous", "inspect.previous", "Previous match"),
            ),
            line(
                "go to a path (xsave.zmm[3]), offset (0x240), vCPU (#7)",
                Key("colon", "jump", "inspect.jump", "Go to", footer=50),
            ),
            line(
                "back to where one was before a search, jump or link; forward",
                Key("ctrl+o", "back", "inspect.place_back", "Place before"),
                Key("ctrl+n", "forward", "inspect.place_on", "Place behind"),
            ),
            line(
                "mark this place with a letter; go to a letter's place",
                Key("m", "mark", "inspect.mark", "Mark"),
                Key("apostrophe", "to_mark", "inspect.to_mark", "To a mark"),
            ),
            line(
                "follow a bit of XSTATE_BV to its component, of XCR0 to CPUID leaf 0xD",
                Key("o", "follow", "inspect.follow", "Follow", footer=170),
            ),
        ),
    ),
    Group(
        "Looking",
        (
            line(
                "all vCPUs side by side: what differs",
                Key("c", "compare", "inspect.compare", "Compare", footer=60),
            ),
            line(
                "what contradicts itself, and what then happens",
                Key("exclamation_mark", "findings", "inspect.findings", "Findings", footer=80),
            ),
            line(
                "the lab: what would KVM and Linux say to this vCPU", Key("L", "lab", "inspect.lab", "Lab", footer=70)
            ),
            line(
                "play: events on this vCPU, restored call by call", Key("P", "play", "inspect.play", "Play", footer=100)
            ),
            line(
                "would this vCPU arrive on another host: asks for it by name",
                Key("M", "migrate", "inspect.migrate", "Migrate", footer=90),
            ),
            line(
                "of a log: its calls beside the machine's answers",
                Key("T", "calls", "inspect.calls", "Calls", footer=180),
            ),
            line(
                "show only fields whose path or meaning has a text; all again",
                Key("f", "filter", "inspect.filter", "Filter", footer=110),
                Key("escape", "clear", "inspect.clear", "All fields again, search ended"),
            ),
            line(
                "element type of vectors and tiles: x8 ... f64",
                Key("e", "element(1)", "inspect.element", "Next element type"),
                Key("E", "element(-1)", "inspect.element_back", "Previous element type"),
            ),
            line(
                "padding and reserved bytes too, or only where they hold something",
                Key("a", "all", "inspect.all", "Padding too"),
            ),
            line(
                "the detail pane over the whole screen, and back", Key("z", "zoom", "inspect.zoom", "Zoom", footer=120)
            ),
            line("read the target again, and mark what changed", Key("R", "again", "inspect.again", "Read again")),
        ),
    ),
    Group(
        "Taking away",
        (
            line("copy the value (OSC 52)", Key("y", "copy_value", "inspect.copy", "Copy value", footer=150)),
            line(
                "copy the command that prints it, as edited",
                Key("Y", "copy_command", "inspect.copy_command", "Copy command"),
            ),
        ),
    ),
)

#: The Inspect screen over a lab: there Escape goes on where nothing is left to clear.
SIMULATED: Table = (
    Group(
        "The lab",
        (
            line(
                "all fields again, then back to the lab; edits of the bytes stay here",
                Key("escape", "clear", "simulated.back", "Back to lab"),
            ),
        ),
    ),
)

#: The Inspect screen over another one that holds the capture too.
FIELD: Table = (
    Group(
        "Moving",
        (
            line(
                "all fields again, then back to where it was chosen",
                Key("escape", "clear", "field.back", "Back"),
            ),
        ),
    ),
)

EDITS: Table = (
    Group(
        "Edits",
        (
            line("back to the field", Key("enter", "field", "edits.field", "To the field", footer=10)),
            line(
                "copy the inspector set command that makes them",
                Key("y,Y", "copy", "edits.copy", "Copy as a command", footer=20),
            ),
            line("back", Key("escape,v", "app.up", "edits.back", "Back")),
        ),
    ),
)

COMPARE: Table = (
    Group(
        "Moving",
        (
            panes("the fields, the whole values"),
            line(
                "the column to the left, right; in time the step before, behind",
                Key("left,h", "column(-1)", "compare.left", "Column to the left"),
                Key("right,l", "column(1)", "compare.right", "Column to the right"),
            ),
            line(
                "next, previous difference",
                Key("n", "difference(1)", "compare.next", "Next ≠", footer=10),
                Key("N", "difference(-1)", "compare.previous", "Previous ≠"),
            ),
            line(
                "the field in the capture of the selected column; Esc there: back",
                Key("enter", "field", "compare.field", "Field", footer=20),
            ),
            line(
                "of captures: the vCPU before, behind",
                Key("left_square_bracket", "row(-1)", "compare.row_back", "Previous vCPU"),
                Key("right_square_bracket", "row(1)", "compare.row_on", "Next vCPU", footer=90),
            ),
        ),
    ),
    Group(
        "Looking",
        (
            line(
                "only fields that differ, or all",
                Key("d", "differences", "compare.differences", "All/≠", footer=30),
            ),
            line(
                "only paths with a text; an empty text shows all again",
                Key("slash,f", "filter", "compare.filter", "Filter", footer=40),
            ),
            line(
                "the selected column is the reference; again: what most have is",
                Key("r", "reference", "compare.reference", "Ref", footer=50),
            ),
            line(
                "captures in the order of time: what each step changes",
                Key("T", "time", "compare.time", "Time", footer=60),
            ),
            line("fold and unfold a section", Key("space", "fold", "compare.fold", "Fold", footer=70)),
            line("all fields again, then back", Key("escape", "clear", "compare.clear", "Clear")),
            line("back", Key("c", "app.up", "compare.back", "Back")),
        ),
    ),
    Group(
        "Taking away",
        (
            line(
                "copy the value; the command that prints what differs in the field",
                Key("y", "copy_value", "compare.copy", "Copy value", footer=80),
                Key("Y", "copy_command", "compare.copy_command", "Copy command"),
            ),
        ),
    ),
)

FINDINGS: Table = (
    Group(
        "Looking",
        (
            line("back, to the field of the finding", Key("enter", "go", "findings.go", "To the field", footer=10)),
            line("back", Key("escape,exclamation_mark", "app.up", "findings.back", "Back")),
        ),
    ),
)

CALLS: Table = (
    Group(
        "Looking",
        (
            line(
                "the next, the previous call that was answered otherwise",
                Key("n", "divergence(1)", "calls.next", "Next ≠", footer=10),
                Key("N", "divergence(-1)", "calls.previous", "Previous ≠"),
            ),
            line(
                "the same calls on the kernel before, behind",
                Key("minus,left", "kernel(-1)", "calls.kernel_back", "Older kernel"),
                Key("plus,right", "kernel(1)", "calls.kernel_on", "Newer kernel", footer=15),
            ),
            line("to the vCPUs and fields of the log", Key("escape,T", "app.up", "calls.back", "Fields", footer=20)),
        ),
    ),
)

#: The screens by name: each with the tables of its panes. Their help is this, and the program's keys.
SCREENS: dict[str, Table] = {
    "start": merged(START, LINES),
    "inspect": merged(LINES, FIELDS, BYTES, INSPECT),
    "simulated": merged(SIMULATED, LINES, FIELDS, BYTES, without("inspect.clear", INSPECT)),
    "field": merged(FIELD, LINES, FIELDS, BYTES, without("inspect.clear", INSPECT)),
    "edits": merged(EDITS, LINES),
    "compare": merged(LINES, COMPARE),
    "findings": merged(LINES, FINDINGS),
    "migration": merged(LINES, MIGRATION),
    "calls": merged(LINES, CALLS),
    "fleet": merged(LINES, FLEET),
    "xstate lab": merged(LINES, XSTATE_LAB),
    "arm64 lab": merged(LINES, ARM64_LAB),
    "id lab": merged(LINES, ID_LAB),
    "timeline": merged(LINES, TIMELINE),
    "against": merged(LINES, AGAINST),
}


def help_of(screen: str) -> Table:
    """The groups of a screen's help."""
    return merged(SCREENS[screen], PROGRAM)
