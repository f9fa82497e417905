"""The application of the tour: a lab, and above it what there is to see."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

from textual.binding import BindingType
from textual.widgets import Static

from inspector.targets.schemes import lab_of
from inspector.tui import keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.door import LabApp
from inspector.tui.key import bindings, keys_of, remapped, written_keys
from inspector.tui.labs import LabSession, lab_screen, session_of
from inspector.tui.tour import Tour


class TourPane(Static):
    """The stop: its text above the lab, as high as it needs."""

    DEFAULT_CSS = """
    TourPane {
        dock: top; height: auto; padding: 0 1; background: $boost; color: $line-text;
        border: round $accent; border-title-color: $line-heading; border-subtitle-color: $line-quiet;
    }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False)


class TourApp(LabApp):
    """Both labs, the second over the first. A stop is left when what it is about has been done."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.TOUR)

    def __init__(self) -> None:
        self.tour = Tour()
        self._session = _session(self.tour)
        super().__init__(self._session)
        self._first = self.lab, self._session

    @cached_property
    def _written(self) -> dict[str, str]:
        """Keys as they are written, by id."""
        found: dict[str, str] = {}
        for name in keys.SCREENS:
            found |= written_keys(keys.help_of(name), self.keymap)
        return found | written_keys(keys.TOUR, self.keymap)

    def on_ready(self) -> None:
        """The first stop."""
        super().on_ready()
        self._show_stop()

    # Stops

    def _show_stop(self) -> None:
        """The stop, on the lab that it is about, unless that has been left by now."""
        if self.lab not in self.screen_stack:
            return
        self.tour.arrived(self._session)
        if not self.lab.query(TourPane):
            self.lab.mount(TourPane())
        pane = self.lab.query_one(TourPane)
        pane.border_title = self.tour.title
        pane.border_subtitle = f"{self._written['tour.on']} on · {self._written['tour.back']} back"
        pane.update(self.tour.text(self._written))

    def action_stop(self, by: int) -> None:
        """The next stop, or the one before, whatever was done at this one."""
        if not self.tour.go(by):
            self._show_stop()
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.lab, self._session = self._first
        if self.tour.part:
            self._session = _session(self.tour)
            self.lab = lab_screen(self._session)
            self.push_screen(self.lab)
        self.call_after_refresh(self._show_stop)

    # What was done

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:  # noqa: FBT001, FBT002 - Textual's
        pressed = tuple(self._ids(key))
        handled = await super()._check_bindings(key, priority)
        if handled and not priority:
            self.call_after_refresh(self._look, pressed)
        return handled

    def on_prompt_submitted(self) -> None:
        """A line was typed; the screen has done what it says."""
        self._look(())

    def _ids(self, key: str) -> Iterator[str]:
        """What the screen that is shown calls a key."""
        if isinstance(self.screen, KeyedScreen):
            for found, _ in keys_of(remapped(keys.help_of(self.screen.keys_name), self.keymap)):
                if key in found.keys.split(","):
                    yield found.id

    def _look(self, pressed: tuple[str, ...]) -> None:
        if not self.screen_stack:
            # The program ends.
            return
        if self.lab not in self.screen_stack:
            # The way back, by the screen's own key.
            self.tour.number = 0
            self.action_stop(-1)
        elif self.tour.is_done(self._session, pressed):
            self.action_stop(1)


def _session(tour: Tour) -> LabSession:
    return session_of(lab_of(tour.parts[tour.part].target))
