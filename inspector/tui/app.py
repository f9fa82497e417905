"""The application: opens a target behind the first frame and shows it."""

from __future__ import annotations

from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message
from textual.screen import Screen

from inspector.capture.bug import OurBugError, told
from inspector.capture.errors import InspectorError, visible
from inspector.readers.options import Options
from inspector.tui.door import DoorApp
from inspector.tui.screens.inspect import InspectScreen
from inspector.tui.state import Place

if TYPE_CHECKING:
    from inspector.capture.model import Capture

#: A read that takes longer than this gets a progress bar, which is drawn anew as often.
_PROGRESS_SECONDS = 0.2
#: The first frame waits so long for what is read.
_FIRST_FRAME_SECONDS = 0.15


class InspectorApp(DoorApp):
    """The terminal interface on one target, which it reads, or which has been read."""

    class Opened(Message):
        """The target has been read, for a screen."""

        def __init__(self, capture: Capture, screen: InspectScreen) -> None:
            super().__init__()
            self.capture = capture
            self.screen = screen

    class OpenedAgain(Message):
        """The target has been read again."""

        def __init__(self, capture: Capture) -> None:
            super().__init__()
            self.capture = capture

    class Told(Message):
        """Something to know while the target is read: that it is stopped, say."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    class Reading(Message):
        """A long read goes on."""

        def __init__(self, what: str, done: int, total: int) -> None:
            super().__init__()
            self.what = what
            self.done = done
            self.total = total

    class Failed(Message):
        """The target cannot be read, for a fault of its own or a bug of ours."""

        def __init__(self, error: InspectorError, screen: InspectScreen) -> None:
            super().__init__()
            self.error = error
            self.screen = screen

    def __init__(self, target: str, options: Options | None = None, capture: Capture | None = None) -> None:
        super().__init__()
        self.target = target
        self.capture = capture
        self.options = options or Options()
        self.inspect = InspectScreen(self.fill)
        self._is_reading = False
        self._was_told = Event()
        #: What reading told before there were panes to show it in; None from then on.
        self._held: list[Message] | None = []
        self._holding = Lock()

    def get_default_screen(self) -> Screen[None]:
        """The Inspect screen is the first one, so that the first frame has its panes."""
        return self.inspect

    def on_load(self) -> None:
        """Read the target while the screen is made."""
        if self.target:
            self.read_target()

    async def fill(self, screen: InspectScreen) -> None:
        """Show what was read. A target that is read in a moment is in the first frame, others get an empty one."""
        if self._held is None:
            self.call_after_refresh(self.read_target)
            return
        self._was_told.wait(_FIRST_FRAME_SECONDS)
        with self._holding:
            held, self._held = self._held, None
        for message in held:
            if isinstance(message, self.Opened) and not message.capture.calls:
                await self._show(message.capture, screen)
            else:
                self.post_message(message)

    def _tell(self, message: Message) -> None:
        """Post what reading tells, once there are panes for it."""
        with self._holding:
            if self._held is not None:
                self._held.append(message)
                self._was_told.set()
                return
        self.post_message(message)

    def read_target(self) -> None:
        """Read the target, off the screen's thread. The program can end before that thread does."""
        if self.capture is not None:
            self._tell(self.Opened(self.capture, self.inspect))
        else:
            Thread(target=self._read, args=(self.inspect,), name="reading", daemon=True).start()

    def on_again_wanted(self) -> None:
        """Read the target again, where that is possible; what cannot be read leaves what is shown."""
        if self.target == "-":
            self.notify("standard input cannot be read again", timeout=3)
        elif not self._is_reading:
            Thread(target=self._read_again, name="reading", daemon=True).start()

    def _read(self, screen: InspectScreen) -> None:
        try:
            # What shows it is imported here too, beside the screen that is made.
            from inspector.tui import session  # noqa: F401

            capture = self._capture()
        except Exception as error:  # noqa: BLE001 - told on screen, and again at the end
            self._tell(self.Failed(told(error), screen))
            return
        self._tell(self.Opened(capture, screen))

    def _read_again(self) -> None:
        self._is_reading = True
        try:
            self.post_message(self.OpenedAgain(self._capture()))
        except Exception as error:  # noqa: BLE001 - told on screen; what was read before stays
            self.post_message(self.Told(str(told(error))))
        finally:
            self._is_reading = False

    def _capture(self) -> Capture:
        from inspector.targets.schemes import capture_of

        last = monotonic()
        notes: list[str] = []

        def note(line: str) -> None:
            notes.append(line)
            self._tell(self.Told(line))

        def progress(what: str, done: int, total: int) -> None:
            nonlocal last
            if monotonic() - last > _PROGRESS_SECONDS:
                last = monotonic()
                self._tell(self.Reading(what, done, total))

        capture = capture_of(self.target, self.options._replace(progress=progress, note=note))
        capture.notices += notes[-1:]
        return capture

    def on_inspector_app_told(self, event: Told) -> None:
        """What is told while the target is read."""
        if self._is_shown(self.inspect):
            self.inspect.say(visible(event.line))

    def on_inspector_app_opened_again(self, event: OpenedAgain) -> None:
        """Show what changed."""
        if self._is_shown(self.inspect):
            self.inspect.show_again(event.capture)

    def on_inspector_app_reading(self, event: Reading) -> None:
        """Draw the progress bar."""
        from inspector.tui.titles import progress_of

        if self._is_shown(self.inspect):
            self.inspect.say(progress_of(event.what, event.done, event.total))

    async def on_inspector_app_opened(self, event: Opened) -> None:
        """Fill the screen, as it was left the last time; of a log its calls are shown first."""
        if not self._is_shown(event.screen) or not await self.has_panes():
            return
        await self._show(event.capture, event.screen)
        if event.capture.calls:
            event.screen.action_calls()

    async def _show(self, capture: Capture, screen: InspectScreen) -> None:
        self.has_opened()
        place = self.state.place_in(self.target)
        if place is None or not -bool(capture.context) <= place.vcpu < len(capture.vcpus):
            place = Place("", 0)
        await screen.show_capture(capture, *place, self.options, self.state.elements)

    def _is_shown(self, screen: InspectScreen) -> bool:
        """Whether a screen is there still: it can be left while its target is read."""
        return screen in self.screen_stack

    def has_opened(self) -> None:
        """The target could be read."""

    async def on_inspector_app_failed(self, event: Failed) -> None:
        """The target cannot be read."""
        await self.refuse(event)

    async def refuse(self, event: Failed) -> None:
        """Leave, and let the command line say why; a bug of ours stays on screen until the user leaves."""
        self.failure = event.error
        if isinstance(event.error, OurBugError):
            self.inspect.say(f"{event.error}; q leaves")
        else:
            self.exit(return_code=event.error.exit_code)

    @property
    def is_ready(self) -> bool:
        """See BaseApp."""
        return self.failure is not None or (self.inspect.session is not None and self.inspect.is_complete)
