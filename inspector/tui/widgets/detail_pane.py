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

    def show(self, session: Session) -> None:
        """Show what is selected."""
        from inspector.tui.detail import detail_of

        field = session.field()
        text: Text
        if field is not None and session.rows is not None:
            try:
                width, note = max(40, self.text_width), session.notes().get(field.path)
                text = detail_of(field, session.rows.table, session.element, width, note)
            except Exception as error:  # noqa: BLE001 - shown in the pane
                text = Text(f"{visible(field.path)}\n{trouble(error)}\n")
        else:
            text = _heading_text(session)
        self.tell(text)


def _heading_text(session: Session) -> Text:
    if session.area is None or session.rows is None or not session.rows.visible:
        return Text(session.trouble.get(session.vcpu_number, "nothing was captured here"))
    row = session.rows.visible[min(session.cursor, len(session.rows.visible) - 1)]
    text = Text(f"{visible(session.rows.heading(row.group))}\n", "bold")
    text.append(f"{visible(session.area.title)}, {session.area.size_bytes} bytes\n")
    text.append(f"{visible(session.area.origin.file)} + {session.area.origin.offset:#x}\n", "dim")
    return text.append("Space folds and unfolds.\n", "dim")
