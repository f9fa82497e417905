"""The applications of the labs."""

from __future__ import annotations

from textual.screen import Screen

from inspector.machine.arm64.models.workbench import Workbench
from inspector.machine.x86.world.world import World
from inspector.targets.labs import IdLab, Lab
from inspector.tui.base_app import BaseApp
from inspector.tui.screens.id_lab import IdLabScreen
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


class IdLabApp(BaseApp):
    """The ID-register lab on a host, with a model."""

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self.lab = IdLabScreen(bench)

    def get_default_screen(self) -> Screen[None]:
        """The lab is the only screen."""
        return self.lab


def app_of_lab(lab: Lab) -> BaseApp:
    """The application of a lab."""
    return IdLabApp(*lab) if isinstance(lab, IdLab) else LabApp(*lab)
