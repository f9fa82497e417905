"""What every application of the tool has: keys in order, the palette, themes, screenshots, help."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from inspector.capture.errors import InspectorError, OutputError, visible
from inspector.capture.model import Capture
from inspector.tui.shown import Guard

_GUARD = Guard()


class KeyedScreen(Screen[None]):
    """A screen that has a help screen with its keys."""

    def help_screen(self) -> Screen[None]:
        """The screen with all keys."""
        raise NotImplementedError


class MachineScreen(KeyedScreen):
    """A screen on a simulated machine: it tells what is wrong, saves the machine, and goes back where it came from."""

    def tell(self, wrong: str) -> None:
        """Say what did not work; nothing when nothing is wrong."""
        if wrong:
            self.notify(visible(wrong), severity="warning", markup=False, timeout=5)

    def save_capture(self, path: str, capture: Capture) -> None:
        """Write the machine as a capture file: under this name, or with a number where that is taken."""
        from inspector.export.files import file_name, save_new
        from inspector.export.vcpu import write_vcpu

        try:
            path = file_name(path, os.listdir())
            save_new(path, lambda out: write_vcpu(out, capture))
        except (OutputError, OSError) as error:
            self.tell(str(error))
            return
        self.notify(f"saved {path}", markup=False)

    def action_back(self) -> None:
        """Back to the capture from which the lab was opened."""
        if len(self.app.screen_stack) > 1:
            self.dismiss()


class BaseApp(App[int]):
    """An application whose keys work in the order in which they are typed."""

    #: Why the target cannot be read.
    failure: InspectorError | None = None
    TITLE = "inspector"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", id="app.quit"),
        Binding("ctrl+q", "quit", "Quit", id="app.quit_too", show=False),
        Binding("question_mark", "help", "Help", id="app.help", key_display="?"),
        Binding("s", "picture", "Screenshot", id="app.picture", show=False),
        Binding("t", "next_theme", "Theme", id="app.theme", show=False),
    ]

    @property
    def is_ready(self) -> bool:
        """What was asked for is on screen, or never will be."""
        return True

    def get_line_filters(self) -> Sequence[LineFilter]:
        """See Guard."""
        return [*super().get_line_filters(), _GUARD]

    def notify(self, message: str, **options: Any) -> None:
        """A message in a corner; what a file brings is visible."""
        super().notify(visible(message), **options)

    def copy_to_clipboard(self, text: str) -> None:
        """A text for the clipboard: pasted into a shell it must not end the paste, nor start a line."""
        super().copy_to_clipboard(visible(text))

    def action_help(self) -> None:
        """All keys of the screen."""
        if isinstance(self.screen, KeyedScreen):
            self.push_screen(self.screen.help_screen())

    async def on_event(self, event: events.Event) -> None:
        """Handle keys in the order in which they arrive.

        Textual runs a binding when its key has bubbled up from the focused widget; by then keys
        typed behind it have gone to that widget too, though the binding moved the focus:
        ``/tmm`` would search for nothing, and Ctrl-U would delete what was typed behind it.
        """
        if isinstance(event, events.Key) and not event.is_forwarded and await self._handle_now(event):
            return
        await super().on_event(event)

    async def _handle_now(self, event: events.Key) -> bool:
        from textual.widgets import Input

        box = self.focused
        if isinstance(box, Input) and event.is_printable and event.character:
            if box.selection.is_empty:
                box.insert_text_at_cursor(event.character)
            else:
                box.replace(event.character, *box.selection)
            return True
        return await self._check_bindings(event.key)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers: every key of the screen by name, and Textual's own."""
        yield from super().get_system_commands(screen)
        for binding in screen.active_bindings.values():
            description = binding.binding.description
            if binding.enabled and description and binding.binding.action != "command_palette":
                run = self._runner(binding.binding.action, binding.node)
                yield SystemCommand(description, f"key {binding.binding.key}", run)

    def _runner(self, action: str, node: object) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, action, node)

        return run

    def action_next_theme(self) -> None:
        """The next of the themes."""
        names = sorted(self.available_themes)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.notify(f"theme {self.theme}", timeout=2)

    def action_picture(self) -> None:
        """Save what is on screen as SVG and PNG."""
        from inspector.tui.picture import save_pictures

        try:
            names = save_pictures(self)
        except OutputError as error:
            self.notify(f"no screenshot: {error}", severity="error", markup=False)
            return
        self.notify(f"saved {' and '.join(names)}", markup=False)
