"""Everything about the selected field; scrolls both ways and can fill the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inspector.capture.errors import visible
from inspector.tui.table import trouble
from inspector.tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from inspector.tui.session import Session


class DetailPane(TextPane):
    """The detail of a field, or of the group whose heading is selected."""

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = "DetailPane { padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._session: Session | None = None
        self._shown_room = (0, 0)

    def on_resize(self) -> None:
        """What is selected again, for the room that there is now."""
        super().on_resize()
        if self._session is not None and (self.text_width, self.size.height) != self._shown_room:
            self.show(self._session)

    def show(self, session: Session) -> None:
        """Show what is selected."""
        from inspector.tui.detail import Room, detail_of
        from inspector.tui.group_text import heading_text

        self._session, self._shown_room = session, (self.text_width, self.size.height)
        field = session.field()
        text: Text
        if field is not None and session.rows is not None:
            try:
                room, note = Room(max(40, self.text_width), self.size.height), session.notes().get(field.path)
                element = session.elements.of(field, session.rows.table)
                text = detail_of(field, session.rows.table, element, room, note)
            except Exception as error:  # noqa: BLE001 - shown in the pane
                text = Text(f"{visible(field.path)}\n{trouble(error)}\n")
        else:
            text = heading_text(session, self.text_width, self.size.height)
        self.tell(text)
