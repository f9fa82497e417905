"""What every application of the tool has: keys in order, the palette, themes, screenshots, help."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import App, ScreenStackError, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter, Monochrome, NoColor
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import WorkerFailed

from inspector.capture.bug import told
from inspector.capture.errors import InspectorError, visible
from inspector.capture.nearest import did_you_mean
from inspector.tui import keys
from inspector.tui.closing import ClosesOnce
from inspector.tui.contrast import line_colours
from inspector.tui.key import bindings, written
from inspector.tui.sent import Shown
from inspector.tui.shown import Guard, Plain
from inspector.tui.state import State
from inspector.tui.wanted import Wanted

if TYPE_CHECKING:
    from inspector.tui.config import Config

#: What somebody has to know who sees the program for the first time.
FIRST_KEYS = (
    "first time here?  ? all keys · / search while typing · L what KVM would say to this vCPU · or: inspector tour"
)
_GUARD, _PLAIN, _NO_COLOUR = Guard(), Plain(), NoColor()
#: Where a terminal has no more than sixteen colours a theme's are told apart no more, orange and red are one: there its
#: own. None is a console that is not one.
_MANY_COLOURS, _FEW_COLOURS_THEME = ("256", "truecolor", None), "ansi-dark"
#: A screen that has no panes after this long takes no keys.
_PATIENCE_SECONDS = 2


class KeyedScreen(ClosesOnce):
    """A screen with a table of keys, of which its bindings and its help are made."""

    #: Its name in ``keys.SCREENS``.
    keys_name: ClassVar[str]
    #: As Textual's own, but that the whole screen is not painted for a focus: those who have and had it are.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    def want(self, wanted: Wanted) -> None:
        """Ask the application for another screen. It is there at once: keys typed behind are for that screen."""
        if isinstance(self.app, BaseApp):
            self.app.open(wanted)

    def unsaved(self) -> str:
        """What would be lost with the screen, and how to keep it; nothing when nothing would."""
        return ""

    def keep_place(self, state: State) -> None:
        """Remember where one was, for the next time that the target is opened."""

    def takes(self, character: str | None) -> bool:  # noqa: ARG002
        """Whether a key is no key now, but a letter that was asked for."""
        return False

    def led(self, key: events.Key) -> str | None:  # noqa: ARG002
        """A key behind a leader as both keys; empty where it has been dealt with, None where no leader was pressed."""
        return None

    @property
    def is_complete(self) -> bool:
        """Whether what keys work on is there."""
        return self.is_mounted

    @property
    def is_ready(self) -> bool:
        """Whether nothing is worked on behind the screen."""
        return True

    def hush(self) -> None:
        """A key has come: what was wrong with a line has been read."""
        from inspector.tui.widgets.prompt import Prompt

        for prompt in self.query(Prompt):
            prompt.hush()


class BaseApp(App[int]):
    """An application whose keys work in the order in which they are typed."""

    #: Why the target cannot be read, or the bug of ours that ends the program; the command line tells.
    failure: InspectorError | None = None
    #: The word that was opened; empty where none was, or it is none.
    target = ""
    #: The terminal shows ASCII alone.
    is_plain = False
    TITLE = "inspector"
    CSS = """
    Screen { layers: base prompt; }
    #title { color: $on-title; text-wrap: nowrap; text-overflow: ellipsis; }
    #columns, #names, Prompt Label { color: $line-heading; }
    #notice { color: $line-changed; }
    ToastRack { dock: top; align: right top; margin: 0; }
    Toast { margin: 0; padding: 0 1; }
    """
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.PROGRAM)

    def __init__(self) -> None:
        super().__init__()
        #: What each screen would have lost when its user was told of it.
        self._told: dict[Screen[object], str] = {}
        #: What is remembered of other runs; nothing until :meth:`take_state`.
        self.state = State()
        self.keymap: Mapping[str, str] = MappingProxyType({})
        self._to_say: list[str] = []
        self._begun_with = ""
        #: What the terminal shows.
        self.shown = Shown()

    @property
    def is_ready(self) -> bool:
        """What was asked for is on screen, or never will be."""
        return True

    def get_driver_class(self) -> type[Driver]:
        """Ours in the place of Textual's for a terminal; a browser has its own."""
        from textual.drivers.linux_driver import LinuxDriver

        from inspector.tui.driver import TerminalDriver

        found = super().get_driver_class()
        return TerminalDriver if found is LinuxDriver else found

    def get_line_filters(self) -> Sequence[LineFilter]:
        """See Guard and Plain. Without colours there are no greys either: Textual's are too near to one another."""
        filters = [_NO_COLOUR if isinstance(one, Monochrome) else one for one in super().get_line_filters()]
        return [*filters, _GUARD, *([_PLAIN] if self.is_plain else [])]

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Textual has painted: send what that changes."""
        if isinstance(renderable, CompositorUpdate):
            renderable = self.shown.changes(renderable)
        elif renderable is not None:
            self.shown.forget()
        super()._display(screen, renderable)

    def action_repaint(self) -> None:
        """Another program has written on the terminal: all of it again."""
        self.shown.forget()
        self.screen.refresh()

    def notify(self, message: str, **options: Any) -> None:
        """A message in a corner; what a file brings is visible."""
        super().notify(visible(message), **options)

    def copy_to_clipboard(self, text: str) -> None:
        """A text for the clipboard: pasted into a shell it must not end the paste, nor start a line."""
        super().copy_to_clipboard(visible(text))

    def open(self, wanted: Wanted) -> None:
        """Show what a screen asks for."""
        raise NotImplementedError

    # What is remembered

    def take_state(self, state: State, config: Config) -> None:
        """Begin with what other runs have left, and with the user's keys and theme."""
        self.state, self.keymap = state, config.keys
        self._to_say = list(config.wrong)
        if config.theme and config.theme not in self.available_themes:
            self._to_say.append(f"theme {config.theme}: {did_you_mean(config.theme, self.available_themes, 'Ctrl-P')}")
        wanted = (config.theme, state.theme, "" if self.console.color_system in _MANY_COLOURS else _FEW_COLOURS_THEME)
        self.theme = next((name for name in wanted if name in self.available_themes), self.theme)
        self._begun_with = self.theme
        if config.keys:
            self.set_keymap(config.keys)
        if not state.has_seen_hint:
            self._to_say.append(FIRST_KEYS)
            state.has_seen_hint = True

    def state_left(self) -> State:
        """What the next run is to begin with."""
        if self.theme != self._begun_with:
            self.state.theme = self.theme
        if self.target and self.failure is None:
            self.state.opened(self.target)
        return self.state

    def exit(self, *arguments: Any, **options: Any) -> None:
        """End; where one was is kept."""
        for screen in self.screen_stack if self._running else ():
            self._keep_place(screen)
        super().exit(*arguments, **options)

    def _keep_place(self, screen: Screen[object]) -> None:
        if isinstance(screen, KeyedScreen):
            screen.keep_place(self.state)

    def on_ready(self) -> None:
        """The first frame is there. Say what is wrong with the user's file; the first time, the keys that matter."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        for line in self._to_say:
            self.notify(line, markup=False, timeout=10)

    # Leaving

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """From the lowest screen the way leads out of the program, from any other one level up."""
        if action in ("leave", "up"):
            return (action == "up") == (len(self.screen_stack) > 1)
        return super().check_action(action, parameters)

    def action_leave(self) -> None:
        """From the lowest screen, out of the program."""
        if self._may_close(self.screen):
            self.exit(return_code=self.return_code or 0)

    def action_up(self) -> None:
        """One level up."""
        if self._may_close(self.screen):
            self._keep_place(self.screen)
            self.screen.dismiss()

    def action_help_quit(self) -> None:
        """Ctrl-C: what leaves instead."""
        self.notify("Ctrl-Q leaves, q is one level up", timeout=2)

    async def action_quit(self) -> None:
        """Out of the program, from any screen."""
        kept = [screen for screen in self.screen_stack if not self._may_close(screen)]
        if not kept:
            self.exit(return_code=self.return_code or 0)

    def _may_close(self, screen: Screen[object]) -> bool:
        """Whether nothing would be lost, or the user has been told of it: asked once for the same edits."""
        lost = screen.unsaved() if isinstance(screen, KeyedScreen) else ""
        if not lost or self._told.get(screen) == lost:
            return True
        self._told[screen] = lost
        self.notify(lost, severity="warning", markup=False)
        return False

    def end(self, code: int) -> bool:
        """End with an exit code, from a signal handler; False when nothing runs that could end."""
        if self._loop is None:
            return False
        self._loop.call_soon_threadsafe(partial(self.exit, return_code=code))
        return True

    def _handle_exception(self, error: Exception) -> None:
        """Leave the screen and let the command line tell of the bug: Textual would print its locals, and exit 1."""
        if isinstance(error, ScreenStackError) and not self.screen_stack:
            # A message that comes while the program ends finds no screen.
            return
        if self._exception is None:
            self.failure = told(error.error if isinstance(error, WorkerFailed) else error)
            self._return_code = self.failure.exit_code
            # For run_test, which raises it.
            self._exception = error
            self._exception_event.set()
        self._close_messages_no_wait()

    def get_css_variables(self) -> dict[str, str]:
        """The theme's variables and our own."""
        theme = super().get_css_variables()
        return {**theme, **line_colours(theme, ansi=self.current_theme.ansi, dark=self.current_theme.dark)}

    # Keys

    def get_key_display(self, binding: Binding) -> str:
        """A key in the footer: as the help writes it."""
        return written(binding.key)

    def action_help(self) -> None:
        """All keys of the screen."""
        from inspector.tui.screens.help import HelpScreen

        if isinstance(self.screen, KeyedScreen):
            self.push_screen(HelpScreen(self.screen.keys_name, self.keymap))

    async def on_event(self, event: events.Event) -> None:
        """Handle keys in the order in which they arrive.

        Textual runs a binding when its key has bubbled up from the focused widget; by then keys
        typed behind it have gone to that widget too, though the binding moved the focus:
        ``/tmm`` would search for nothing, and Ctrl-U would delete what was typed behind it.
        A key that comes back from a widget was none of the screen's: by now it may be one of another screen.
        """
        if isinstance(event, events.Key) and (event.is_forwarded or await self._handle_now(event)):
            return
        if isinstance(event, events.Resize):
            # Also what comes first when the program is continued: the terminal is another one, or was a shell's.
            self.shown.forget()
        await super().on_event(event)
        if isinstance(event, Driver.SignalResume):
            self.action_repaint()

    async def has_panes(self) -> bool:
        """Wait until a screen that was just opened has its panes, for what came ahead of them: keys, a fast reader.

        False while the program ends: there is nothing any more that could take a key.
        """
        until = monotonic() + _PATIENCE_SECONDS
        while self.screen_stack and not self._exit and monotonic() < until:
            screen = self.screen
            if screen.is_complete if isinstance(screen, KeyedScreen) else screen.is_mounted:
                return True
            await asyncio.sleep(0)
        return False

    async def _handle_now(self, event: events.Key) -> bool:
        from textual.widgets import Input

        if not await self.has_panes():
            return True
        if isinstance(self.screen, KeyedScreen):
            self.screen.hush()
            self.clear_notifications()
            if self.screen.takes(event.character):
                return True
            if (both := self.screen.led(event)) is not None:
                return not both or await self._check_bindings(both)
        box = self.focused
        if isinstance(box, Input) and event.is_printable and event.character:
            if box.selection.is_empty:
                box.insert_text_at_cursor(event.character)
            else:
                box.replace(event.character, *box.selection)
            return True
        return await self._check_bindings(event.key)

    def action_command_palette(self) -> None:
        """Open the palette, once."""
        from inspector.tui.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """The palette with the themes, which Textual's own palette opens."""
        from textual.theme import ThemeProvider

        from inspector.tui.palette import Palette

        self.push_screen(Palette([ThemeProvider], placeholder="Search for themes…"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers: every key of the screen by name, and Textual's own."""
        known = {"Keys", "Quit", "Screenshot"}
        yield from (command for command in super().get_system_commands(screen) if command.title not in known)
        known -= {"Screenshot", "Quit"}
        for active in screen.active_bindings.values():
            binding, title = active.binding, active.binding.description
            # What Textual itself binds has no sentence.
            if active.enabled and binding.tooltip and title not in known and binding.action != "command_palette":
                known.add(title)
                help_text = f"{binding.tooltip} ({written(binding.key)})"
                yield SystemCommand(title, help_text, self._runner(binding.action, active.node))

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
        except Exception as error:  # noqa: BLE001 - no picture is worth the edits
            self.notify(f"no screenshot: {told(error)}", severity="error", markup=False)
            return
        self.notify(f"saved {' and '.join(names)}", markup=False)
