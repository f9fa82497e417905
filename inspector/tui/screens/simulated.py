"""The Inspect screen on a simulated machine: its bytes, opened from the lab."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.binding import BindingType

from inspector.capture.model import Capture
from inspector.tui import keys
from inspector.tui.key import bindings
from inspector.tui.screens.inspect import InspectScreen


class SimulatedScreen(InspectScreen):
    """The bytes behind the lab. Escape goes back; edits stay here."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.SIMULATED)
    keys_name = "simulated"

    def __init__(self, capture: Capture, path: str, vcpu_number: int = 0) -> None:
        super().__init__()
        self.capture = capture
        self.path = path
        self.vcpu_number = vcpu_number

    def action_copy_command(self) -> None:
        """There is none: a machine is no target of a command."""
        self.notify("no command prints a simulated machine: S in the lab saves it as a capture", timeout=3)

    def action_again(self) -> None:
        """The lab is what changes it."""
        self.notify("a simulated machine changes in its lab only", timeout=3)

    def go_up(self) -> None:
        """Back to the lab; edits stay here."""
        self.dismiss()

    def unsaved(self) -> str:
        """See KeyedScreen."""
        return "edits of a simulated machine stay nowhere: again leaves; S saves a capture" if super().unsaved() else ""

    @on(events.Mount)
    async def fill(self) -> None:
        """There is nothing to read: the capture is here already."""
        await self.show_capture(self.capture, self.path, self.vcpu_number)
