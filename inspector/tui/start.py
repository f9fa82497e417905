"""The application that starts with what there is to open, and comes back to it."""

from __future__ import annotations

from textual.screen import Screen

from inspector.capture.errors import InspectorError, UsageError
from inspector.readers.options import Options
from inspector.tui.app import InspectorApp
from inspector.tui.screens.inspect import InspectScreen
from inspector.tui.screens.start import StartScreen
from inspector.tui.wanted import TargetWanted, Wanted


class StartApp(InspectorApp):
    """The start screen as the lowest one. ``target`` is what is open now."""

    def __init__(self, options: Options | None = None) -> None:
        super().__init__("", options)
        # What is opened from here has panes when it is read.
        self._held = None
        self.start = StartScreen()

    def get_default_screen(self) -> Screen[None]:
        """The start screen."""
        return self.start

    def open(self, wanted: Wanted) -> None:
        """A target that was chosen; else as any application."""
        if not isinstance(wanted, TargetWanted):
            super().open(wanted)
            return
        try:
            self._open(wanted.target)
        except InspectorError as error:
            self._say_why(error)

    def _open(self, target: str) -> None:
        from inspector.targets.schemes import scheme_of

        scheme = scheme_of(target)
        if target == "-":
            raise UsageError("-: standard input is the terminal here; expected a file or a scheme's word")
        self.target = target
        if scheme.opens_lab:
            self.target = self._open_lab(target)
            self.state.opened(self.target)
            return
        self.inspect = InspectScreen(self.fill)
        self.push_screen(self.inspect)

    def _open_lab(self, target: str) -> str:
        """Show a lab or a fleet; the word that opens it again."""
        from inspector.targets.labs import FleetLab
        from inspector.targets.schemes import lab_of
        from inspector.tui.labs import fleet_screen, lab_screen, session_of

        lab = lab_of(target, self.options)
        if isinstance(lab, FleetLab):
            self.push_screen(fleet_screen(lab.store))
            return lab.store
        self.push_screen(lab_screen(session_of(lab)))
        return target

    def _say_why(self, error: InspectorError) -> None:
        """Say why a target cannot be opened, and stay here."""
        self.target = ""
        self.notify(str(error), severity="warning", markup=False, timeout=8)

    def has_opened(self) -> None:
        """It can be opened: it is recent."""
        self.state.opened(self.target)

    async def refuse(self, event: InspectorApp.Failed) -> None:
        """Back to where it was chosen, with the reason."""
        if self._is_shown(event.screen):
            await event.screen.dismiss()
            self._say_why(event.error)

    @property
    def is_ready(self) -> bool:
        """See BaseApp."""
        return self.start.session is not None
