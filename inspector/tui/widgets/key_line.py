"""The last line of a screen: its keys that do something now."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual.events import MouseDown, MouseMove
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget


class _Shown(NamedTuple):
    key: str
    written: str
    description: str
    tooltip: str
    works: bool
    #: On the line at any width: how one leaves, and where all keys are.
    stays: bool

    @property
    def width(self) -> int:
        """Cells on the line, with the gap behind it."""
        return cell_len(self.written) + cell_len(self.description) + 2


class KeyLine(Widget, can_focus=False):
    """The shown bindings of a screen, one of each action; a click on one is its key.

    Textual's Footer has a widget for each key and makes all of them anew whenever the focus moves: a third of a key
    press. This is one widget, painted when a key comes or goes.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key", "key-line--description"}
    DEFAULT_CSS = """
    KeyLine {
        dock: bottom; height: 1; text-wrap: nowrap; color: $footer-foreground; background: $footer-background;
        .key-line--key { color: $key-word; text-style: bold; }
        .key-line--description { color: $key-label; }
        &:nocolor .key-line--key { text-style: bold reverse; }
    }
    """
    keys: reactive[tuple[_Shown, ...]] = reactive(tuple)

    def on_mount(self) -> None:
        """Follow the screen's bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self.follow)

    def follow(self, screen: Screen[object]) -> None:
        """Show what the screen offers, as long as the terminal has the focus: without it bindings are off."""
        if screen is not self.screen or not screen.app.app_focus:
            return
        shown: dict[str, _Shown] = {}
        for node, binding, works, tooltip in screen.active_bindings.values():
            if binding.show:
                written, stays = self.app.get_key_display(binding), node is self.app
                one = _Shown(binding.key, written, binding.description, tooltip, works, stays)
                shown.setdefault(binding.action, one)
        self.keys = tuple(shown.values())

    def _fitting(self) -> list[_Shown]:
        """The keys for which there is room, in their order: none of them is cut."""
        room = self.size.width + 1 - sum(one.width for one in self.keys if one.stays)
        found = []
        for one in self.keys:
            room -= 0 if one.stays else one.width
            if one.stays or room >= 0:
                found.append(one)
        return found

    def render(self) -> Text:
        """Each key and its name."""
        key, name = (self.get_component_rich_style(f"key-line--{part}") for part in ("key", "description"))
        line = Text(no_wrap=True, end="")
        for one in self._fitting():
            part = Text.assemble((one.written, key), (f" {one.description}", name))
            if not one.works:
                part.stylize("dim")
            line.append_text(part).append(" ")
        return line

    def _at(self, x: int) -> _Shown | None:
        """The key at a column."""
        for one in self._fitting():
            if x < one.width:
                return one if x < one.width - 1 else None
            x -= one.width
        return None

    def on_mouse_down(self, event: MouseDown) -> None:
        """A key that is clicked is pressed."""
        if (one := self._at(event.x)) is not None:
            if one.works:
                # Behind the leader it is two.
                for key in one.key.split():
                    self.app.simulate_key(key)
            else:
                self.app.bell()

    def on_mouse_move(self, event: MouseMove) -> None:
        """What the key under the mouse does."""
        one = self._at(event.x)
        self.tooltip = one.tooltip if one is not None else None
