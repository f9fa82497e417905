"""The keys of the lab."""

from __future__ import annotations

from typing import ClassVar

from inspector.tui.screens.help import LINES, PROGRAM, HelpScreen, Keys

_KEYS = (
    (
        "Moving",
        (
            *LINES,
            ("Tab Shift-Tab", "the next pane: components, timeline, outcome"),
        ),
    ),
    (
        "The scenario",
        (
            ("n u", "the next event; take the last one back"),
            ("T", "the timeline, with the whole state before and after"),
        ),
    ),
    (
        "Events (on the selected component where they name one)",
        (
            ("x f", "toggle its bit: guest XSETBV, guest WRMSR of XFD"),
            ("p P", "ask permission for the guest, for the process"),
            ("v c", "KVM_CREATE_VCPU, KVM_SET_CPUID2"),
            ("a l B", "guest LDTILECFG, TILELOADD; Linux boots in the guest"),
            ("r b E", "KVM_RUN; return from it; a VM exit"),
            ("e i", "preempt; a softirq uses the FPU"),
            ("1 2", "KVM_GET_XSAVE, KVM_GET_XSAVE2"),
            (":", "type any event (inspector sim --help lists them)"),
        ),
    ),
    (
        "Looking",
        (
            ("w", "why: from the host's CPU to the guest's program, what is in the way"),
            ("o S", "the bytes in the Inspect screen; save as a capture"),
            ("L [ ]", "host's or guest's Linux (narrow terminals); another vCPU"),
            ("Esc", "back"),
        ),
    ),
    PROGRAM,
)
_MARKS = (
    (
        "Columns",
        (
            ("host", "the host's Linux uses it"),
            ("perm gperm", "the process may, its guest may"),
            ("CPUID XCR0 XFD", "of the vCPU; XSS for supervisor components"),
            ("use BV room", "XINUSE (○ contents initial); XSTATE_BV; has room"),
            ("guest's Linux", "its task may; the task's buffer has room"),
            ("touch", "what an instruction on it gives now: ok, an exception, a signal,"),
            ("", "grows (a larger buffer first)"),
        ),
    ),
)


class LabHelpScreen(HelpScreen):
    """All keys of the lab."""

    KEYS: ClassVar[Keys] = _KEYS
    MARKS: ClassVar[Keys] = _MARKS
