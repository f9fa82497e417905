"""The Calls screen: what a log says that KVM answered, beside what the machine would have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.export.log_timeline import machine_answer, reasons, short, summary
from inspector.machine.x86.replay.calls import Compared
from inspector.targets.x86_log import Comparison, of_capture
from inspector.tui import keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.key import bindings
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView, fitted
from inspector.tui.widgets.text_pane import TextPane
from layouts.x86.kernels import kernels

_NUMBER_WIDTH, _ANSWER_WIDTH = 7, 12
#: Of the width: the call; the rest is the machine's answer.
_CALL_SHARE = 0.5


class CallList(LineView):
    """One line a call: its number, what was asked, the log's answer, the machine's."""

    def __init__(self, calls: Sequence[Compared], first: int | None) -> None:
        super().__init__()
        self.calls = calls
        self.first = first

    def line_count(self) -> int:
        """See LineView."""
        return len(self.calls)

    @staticmethod
    def call_width(width: int) -> int:
        """Columns for what was asked."""
        return max(20, int((width - _NUMBER_WIDTH - _ANSWER_WIDTH) * _CALL_SHARE))

    def names(self) -> str:
        """What the columns are."""
        wide = self.call_width(self.scrollable_content_region.width or self.app.size.width)
        return f"{'':<{_NUMBER_WIDTH}}{'call':<{wide}}{'the log':<{_ANSWER_WIDTH}}the machine"

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        one = self.calls[line]
        wide = self.call_width(width)
        style = self.style_of("changed") if one.agrees is False else None
        quiet = self.style_of("quiet") if one.outcome is None else style
        mark = ">" if line + 1 == self.first else "≠" if one.agrees is False else " "
        said = f"{fitted(one.call.answer, _ANSWER_WIDTH - 1):<{_ANSWER_WIDTH}}"
        rest = width - _NUMBER_WIDTH - wide - _ANSWER_WIDTH
        return [
            Segment(f"{mark}{line + 1:>5} ", style),
            Segment(f"{fitted(short(one, wide + 3), wide - 1):<{wide}}", quiet),
            Segment(said, style),
            Segment(fitted(machine_answer(one), rest), quiet),
        ]


class AboutPane(TextPane):
    """Everything about the selected call."""

    wraps = True


class CallsScreen(KeyedScreen):
    """The calls of a log, and everything about the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.CALLS)
    keys_name = "calls"
    DEFAULT_CSS = """
    CallsScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    CallsScreen CallList { height: auto; max-height: 65%; padding: 0 0 0 1; }
    CallsScreen #names { height: 1; text-style: bold; padding: 0 0 0 1; }
    CallsScreen AboutPane { height: 1fr; padding: 0 1; border-top: solid $pane-edge; }
    """

    def __init__(self, found: Comparison) -> None:
        super().__init__()
        self.found = found

    def compose(self) -> ComposeResult:
        """Title, the calls, everything about the selected one."""
        yield Static(self._heading(), id="title", markup=False)
        yield Static("", id="names", markup=False)
        yield CallList(self.found.calls, self.found.first)
        yield AboutPane()
        yield KeyLine()

    def _heading(self) -> str:
        found = self.found
        return visible(f"{summary(found)} · {found.kernel} · {found.capture.target}")

    def on_mount(self) -> None:
        """The first call that was answered otherwise is selected."""
        self.query_one(AboutPane).border_title = "the call"
        self.set_focus(self.query_one(CallList))
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        """The columns depend on the width."""
        self.call_after_refresh(lambda: self.query_one("#names", Static).update(self.query_one(CallList).names()))

    def _show(self) -> None:
        calls = self.query_one(CallList)
        calls.calls, calls.first = self.found.calls, self.found.first
        calls.resized()
        self.query_one("#title", Static).update(self._heading(), layout=False)
        self._go((self.found.first or 1) - 1)

    def _go(self, line: int) -> None:
        self.query_one(CallList).place(line)
        self.on_line_view_moved()

    def on_line_view_moved(self) -> None:
        """What the line has no room for."""
        number = self.query_one(CallList).cursor
        self.query_one(AboutPane).tell(_about(self.found, number))

    def action_kernel(self, by: int) -> None:
        """The same calls on the kernel before or behind."""
        releases = list(kernels())
        if self.found.release not in releases:
            self.notify("no machine was asked: inspector sim --from-log with --host names one", timeout=3)
            return
        at = max(0, min(releases.index(self.found.release) + by, len(releases) - 1))
        self.found = of_capture(self.found.capture, kernel_name=releases[at])
        self._show()

    def action_divergence(self, by: int) -> None:
        """To the next or the previous call that was answered otherwise."""
        at = self.query_one(CallList).cursor
        numbers = [number for number, one in enumerate(self.found.calls) if one.agrees is False]
        ahead = [number for number in numbers if (number - at) * by > 0]
        if ahead:
            self._go(ahead[0] if by > 0 else ahead[-1])
        else:
            self.notify("no other divergence there" if numbers else "no divergence", timeout=2)


def _about(found: Comparison, number: int) -> Text:
    """The answers and their reasons before the call's words, which can be long."""
    one = found.calls[number]
    text = Text(f"{visible(one.call.name)}, call {number + 1}, at byte {one.call.offset} of the log\n", "bold")
    for head, words in (("log", one.call.answer), ("machine", machine_answer(one))):
        text.append(f"{head}: ", "bold").append(f"{visible(words)}\n")
    for words in reasons(one):
        text.append(f"{visible(words)}\n")
    text.append("on: ", "bold").append(f"{visible(found.kernel)}; {visible(found.because)}\n")
    text.append("call: ", "bold").append(visible(one.call.text))
    return text
