"""The application: opens a target behind the first frame and shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from inspector.capture.errors import InspectorError
from inspector.readers.options import Options
from inspector.tui.screens.inspect import InspectScreen

if TYPE_CHECKING:
    from inspector.capture.model import Capture

#: A read that takes longer than this gets a progress bar, which is drawn anew as often.
_PROGRESS_SECONDS = 0.2


class InspectorApp(App[int]):
    """The terminal interface on one target."""

    TITLE = "inspector"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", id="app.quit"),
        Binding("ctrl+q", "quit", "Quit", id="app.quit_too", show=False),
        Binding("question_mark", "help", "Help", id="app.help", key_display="?"),
        Binding("s", "picture", "Screenshot", id="app.picture", show=False),
        Binding("t", "next_theme", "Theme", id="app.theme", show=False),
    ]

    class Opened(Message):
        """The target has been read."""

        def __init__(self, capture: Capture) -> None:
            super().__init__()
            self.capture = capture

    class Reading(Message):
        """A long read goes on."""

        def __init__(self, what: str, done: int, total: int) -> None:
            super().__init__()
            self.what = what
            self.done = done
            self.total = total

    class Failed(Message):
        """The target cannot be read."""

        def __init__(self, error: InspectorError) -> None:
            super().__init__()
            self.error = error

    def __init__(self, target: str, options: Options | None = None) -> None:
        super().__init__()
        self.target = target
        self.options = options or Options()
        self.failure: InspectorError | None = None
        self.inspect = InspectScreen()

    def get_default_screen(self) -> Screen[None]:
        """The Inspect screen is the first one, so that the first frame has its panes."""
        return self.inspect

    def on_inspect_screen_ready(self) -> None:
        """Read the target once the first frame is out."""
        self.call_after_refresh(self.read_target)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def read_target(self) -> None:
        """Read the target, off the screen's thread."""
        from inspector.readers.open import open_capture

        last = monotonic()

        def progress(what: str, done: int, total: int) -> None:
            nonlocal last
            if monotonic() - last > _PROGRESS_SECONDS:
                last = monotonic()
                self.post_message(self.Reading(what, done, total))

        try:
            capture = open_capture(self.target, self.options._replace(progress=progress))
        except InspectorError as error:
            self.post_message(self.Failed(error))
            return
        self.post_message(self.Opened(capture))

    def on_inspector_app_reading(self, event: Reading) -> None:
        """Draw the progress bar."""
        self.inspect.show_progress(event.what, event.done, event.total)

    async def on_inspector_app_opened(self, event: Opened) -> None:
        """Fill the screen."""
        await self.inspect.show_capture(event.capture)

    def on_inspector_app_failed(self, event: Failed) -> None:
        """Leave, and let the command line say why."""
        self.failure = event.error
        self.exit(return_code=event.error.exit_code)

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

    def action_help(self) -> None:
        """All keys."""
        from inspector.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen())

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
        except OSError as error:
            self.notify(f"no screenshot: {error.strerror}", severity="error", markup=False)
            return
        self.notify(f"saved {' and '.join(names)}", markup=False)
