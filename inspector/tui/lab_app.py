"""The application of the XSTATE lab."""

from __future__ import annotations

from textual.screen import Screen

from inspector.machine.x86.world import World
from inspector.tui.base_app import BaseApp
from inspector.tui.screens.lab import LabScreen
from layouts.x86.scenario import Scenario


class LabApp(BaseApp):
    """The lab on a host, with a scenario to step through."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__()
        self.lab = LabScreen(world, scenario)

    def get_default_screen(self) -> Screen[None]:
        """The lab is the only screen."""
        return self.lab
