"""The door between captures and machines: from a captured vCPU to its lab, and from a lab to its bytes.

What is behind it (``inspector.tui.labs``) is imported when it is opened: the first frame does not wait for machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from inspector.capture.errors import InspectorError
from inspector.tui.base_app import BaseApp
from inspector.tui.wanted import BytesWanted, Wanted

if TYPE_CHECKING:
    from inspector.tui.labs import LabSession


class DoorApp(BaseApp):
    """An application that opens labs and their bytes where a screen asks for them."""

    def open(self, wanted: Wanted) -> None:
        """The lab of a captured vCPU, or why there is none; the bytes of a simulated machine."""
        from inspector.tui.labs import bytes_screen, lab_screen, session_of_vcpu

        if isinstance(wanted, BytesWanted):
            self.push_screen(bytes_screen(*wanted))
            return
        try:
            self.push_screen(lab_screen(session_of_vcpu(*wanted)))
        except InspectorError as error:
            self.notify(str(error), markup=False, timeout=3)


class LabApp(DoorApp):
    """A lab as the lowest screen."""

    def __init__(self, session: LabSession) -> None:
        from inspector.tui.labs import lab_screen

        super().__init__()
        self.lab = lab_screen(session)

    def get_default_screen(self) -> Screen[None]:
        """The lab."""
        return self.lab
