"""The start screen: what there is to open."""

from __future__ import annotations

import os
import shlex
from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from inspector import __version__
from inspector.capture.errors import visible
from inspector.targets.host_names import files_of
from inspector.targets.schemes import SCHEMES
from inspector.tui.base_app import BaseApp, KeyedScreen
from inspector.tui.key import bindings
from inspector.tui.start_keys import START
from inspector.tui.start_session import Entry, StartSession
from inspector.tui.wanted import TargetWanted
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView, fitted
from inspector.tui.widgets.prompt import Prompt

#: The column of targets: not wider, and beside it some words on each.
_WIDEST_TARGET = 52

#: The keys that lead on from there: nobody finds them otherwise.
_IN_A_CAPTURE = "in a capture L: its lab"


class StartList(LineView):
    """One line a target."""

    session: StartSession | None = None

    def line_count(self) -> int:
        """See LineView."""
        return len(self.session.lines) if self.session else 0

    def selected(self) -> Entry | None:
        """The line under the cursor."""
        lines = self.session.lines if self.session else []
        return lines[min(self.cursor, len(lines) - 1)] if lines else None

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        assert self.session is not None
        entry = self.session.lines[line]
        if not entry.target:
            return [Segment(fitted(entry.about, width), self.style_of("heading"))]
        wide = min(_WIDEST_TARGET, width // 2)
        name = _short(entry.target, wide - 3)
        return [Segment(f"  {name:<{wide - 2}}"), Segment(fitted(entry.about, width - wide), self.style_of("quiet"))]


def _short(target: str, width: int) -> str:
    """A target that fits; of a path the end says more."""
    home = os.path.expanduser("~")
    target = f"~{target[len(home) :]}" if target.startswith(f"{home}/") else target
    if "/" in target and ":" not in target and len(target) > width:
        return f"…{target[len(target) - width + 1 :]}"
    return fitted(target, width)


class StartScreen(KeyedScreen):
    """Recent targets, samples, scenarios, hosts."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(START)
    keys_name = "start"
    DEFAULT_CSS = """
    StartScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    StartScreen StartList { height: 1fr; padding: 0 1; }
    StartScreen #whole { height: 2; padding: 0 1; color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.session: StartSession | None = None

    def compose(self) -> ComposeResult:
        """Title, the list, the line under the cursor as a whole, the line where one types."""
        yield Static(f"inspector {__version__}", id="title", markup=False)
        yield StartList()
        yield Static(id="whole", markup=False)
        yield Prompt()
        yield KeyLine()

    @property
    def list(self) -> StartList:
        """The targets."""
        return self.query_one(StartList)

    def on_mount(self) -> None:
        """What there is is looked up behind the first frame."""
        self.set_focus(self.list)
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        assert isinstance(self.app, BaseApp)
        self.session = self.list.session = StartSession(self.app.state)
        self._show(self.session.first())

    def on_screen_resume(self) -> None:
        """What was opened is recent now."""
        if self.session is not None and isinstance(self.app, BaseApp):
            before = self.list.selected()
            self.session.refresh(self.app.state)
            lines = self.session.lines
            self._show(lines.index(before) if before in lines else self.session.first())

    def _show(self, line: int) -> None:
        assert self.session is not None
        self.list.resized()
        self.list.place(line)
        self._show_whole()
        chosen = f"filter {self.session.filter_text!r}, Esc: all · " if self.session.filter_text else ""
        self.query_one("#title", Static).update(
            visible(
                f"inspector {__version__} · {chosen}{self.session.count} to open, or : and a file · {_IN_A_CAPTURE}"
            )
        )

    def on_line_view_moved(self) -> None:
        """What the list cuts is whole below it."""
        self._show_whole()

    def _show_whole(self) -> None:
        entry = self.list.selected()
        whole = f"{entry.target}: {entry.about}" if entry is not None and entry.target and entry.about else ""
        self.query_one("#whole", Static).update(visible(whole))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed the line of keys offers nothing else."""
        typing = self.focused is not None and self.focused.id == "prompt-input"
        return super().check_action(action, parameters) and not (typing and action in ("filter", "ask", "copy"))

    def on_line_view_chosen(self) -> None:
        """A second click."""
        self.action_enter()

    def action_enter(self) -> None:
        """Open the target under the cursor."""
        entry = self.list.selected()
        if entry is not None and entry.target:
            self.want(TargetWanted(entry.target))

    def action_heading(self, by: int) -> None:
        """To the next group, or the one before."""
        if self.session is not None:
            self.list.move_to(self.session.next_heading(self.list.cursor, by))

    def action_copy(self) -> None:
        """Copy the command that opens it."""
        entry = self.list.selected()
        if entry is not None and entry.target:
            command = shlex.join(["inspector", "open", entry.target])
            self.app.copy_to_clipboard(command)
            self.notify(f"sent to the terminal's clipboard: {command}", markup=False, timeout=3)

    # Lines that are typed

    def action_filter(self) -> None:
        """Narrow the list while one types."""
        if self.session is not None:
            self.query_one(Prompt).ask("filter", "only:", self.session.filter_text, live=True)

    def action_ask(self) -> None:
        """Type any target."""
        self.query_one(Prompt).ask("open", "open (a file, or a TARGET; Tab completes):", "", _completed)

    def action_clear(self) -> None:
        """End the filter."""
        self._filter("")

    def _filter(self, text: str) -> None:
        if self.session is not None:
            self.session.filter(text)
            self._show(self.session.first())

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """The list follows what is typed."""
        self._filter(event.text)

    def on_prompt_stepped(self, event: Prompt.Stepped) -> None:
        """Up and down move in the list while one types."""
        self.list.action_move(event.by)

    def on_prompt_cancelled(self) -> None:
        """What was typed is taken back."""
        if self.query_one(Prompt).purpose == "filter":
            self._filter("")

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Open what was typed, or the one line that the filter has left."""
        self.query_one(Prompt).close()
        if event.purpose == "filter":
            self.action_enter()
        elif event.text.strip():
            self.want(TargetWanted(os.path.expanduser(event.text.strip())))

    def on_prompt_closed(self) -> None:
        """Back to the list."""
        self.set_focus(self.list)


def _completed(text: str) -> list[str]:
    """What a word that is typed can become: a scheme, or files of a folder."""
    schemes = [scheme.prefix for scheme in SCHEMES if len(scheme.prefix) > 1 and scheme.prefix.startswith(text)]
    return [*(schemes if text else []), *files_of(text)]
