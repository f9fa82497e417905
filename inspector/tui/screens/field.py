"""The Inspect screen on a capture that another screen holds: the field that was chosen there, and back."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.binding import BindingType

from inspector.tui import keys
from inspector.tui.key import bindings
from inspector.tui.screens.inspect import InspectScreen
from inspector.tui.session import Session


class FieldScreen(InspectScreen):
    """A capture at a field. Edits are those of the session, which the screen below has too."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.FIELD)
    keys_name = "field"

    def __init__(self, session: Session, path: str, vcpu_number: int) -> None:
        super().__init__()
        self.shared = session
        self.path = path
        self.vcpu_number = vcpu_number

    def go_up(self) -> None:
        """Back."""
        self.dismiss()

    def action_compare(self) -> None:
        """Back to where the vCPUs are side by side."""
        self.dismiss()

    def unsaved(self) -> str:
        """See KeyedScreen: nothing is lost with this screen."""
        return ""

    @on(events.Mount)
    async def fill(self) -> None:
        """There is nothing to read: the session is here already."""
        await self.show_session(self.shared, self.path, self.vcpu_number)
