"""The panel of a leader: what the next key would do, above the panes and beside or above the outcome."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.message import Message

from inspector.capture.errors import visible
from inspector.tui.drawn import Drawn
from inspector.tui.leader import Entry, Panel, panel
from inspector.tui.widgets.drawn_view import DrawnView


class LeaderPanel(DrawnView):
    """Groups of keys; takes its size from where the screen puts it."""

    DEFAULT_CSS = """
    LeaderPanel {
        layer: prompt; dock: bottom; display: none; height: auto; padding: 0 1; background: $panel;
        overflow: hidden; border-top: solid $pane-edge; border-title-color: $line-heading;
    }
    """

    class Clicked(Message):
        """A key of the panel was clicked: both keys."""

        def __init__(self, keys: str) -> None:
            super().__init__()
            self.keys = keys

    def __init__(self, groups: Callable[[], list[list[Entry]]]) -> None:
        super().__init__(self._draw, "leader")
        self.groups = groups
        self.most_lines = 1
        self._title = ""

    @property
    def is_open(self) -> bool:
        """The next key is behind the leader."""
        return self.styles.display == "block"

    def open(self, title: str, width: int, below: int, most_lines: int) -> None:
        """Show the keys in a width, so many lines above the screen's last, in at most so many lines."""
        self._title = self.border_title = visible(title)
        self.most_lines = most_lines - 1
        self.styles.width = width
        self.styles.margin = (0, 0, below, 0)
        self.styles.display = "block"
        self.resized()

    def close(self) -> None:
        """Let the panes be seen again."""
        self.styles.display = "none"

    def keys_behind(self, key: str) -> str:
        """Both keys, where there is such a one behind the leader."""
        found = (entry.keys for group in self.groups() for entry in group)
        return next((keys for keys in found if keys and keys.split()[1] == key), "")

    def refuse(self, character: str) -> None:
        """Say that a key is none of these."""
        self.border_title = f"{self._title} · {visible(character)} is none of these"

    def _panel(self, width: int) -> Panel:
        return panel(self.groups(), width, self.most_lines)

    def _draw(self, width: int) -> list[Drawn]:
        return self._panel(width).lines()

    def on_click(self, event: events.Click) -> None:
        """The key that is clicked is pressed."""
        event.stop()
        event.prevent_default()
        place = event.get_content_offset(self)
        entry = self._panel(self.scrollable_content_region.width).at(*place) if place is not None else None
        if entry is not None:
            self.post_message(self.Clicked(entry.keys))
