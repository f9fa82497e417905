"""The keys of the lab."""

from __future__ import annotations

from rich.text import Text

from inspector.tui.screens.help import HelpScreen, keys_text

_KEYS = (
    (
        "Moving",
        (
            ("↑ ↓ k j", "a component, or an event in the timeline"),
            ("Tab", "the next pane: components, timeline, outcome"),
        ),
    ),
    (
        "The scenario",
        (
            ("n", "the next event"),
            ("u", "take the last event back"),
        ),
    ),
    (
        "Events (on the selected component where they name one)",
        (
            ("x f", "toggle its bit: guest XSETBV, guest WRMSR of XFD"),
            ("p P", "ask permission for the guest, for the process"),
            ("v c", "KVM_CREATE_VCPU, KVM_SET_CPUID2"),
            ("a l", "guest LDTILECFG, TILELOADD"),
            ("r b", "KVM_RUN; return from it"),
            ("e i", "preempt; a softirq uses the FPU"),
            ("1 2", "KVM_GET_XSAVE, KVM_GET_XSAVE2"),
            (":", "type any event (inspector sim --help lists them)"),
        ),
    ),
    (
        "Columns",
        (
            ("host", "the host's Linux uses it"),
            ("perm gperm", "the process may, its guest may"),
            ("CPUID XCR0 XFD", "of the vCPU"),
            ("use room", "not initial; the guest's buffer has room for it"),
            ("touch", "what an instruction on it gives now"),
        ),
    ),
    ("The program", (("Ctrl-P", "command palette"), ("t s q", "theme, screenshot, quit"))),
)


class LabHelpScreen(HelpScreen):
    """All keys of the lab."""

    def text(self) -> Text:
        """What the screen says."""
        return keys_text(_KEYS)
