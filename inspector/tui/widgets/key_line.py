"""The last line: the keys that work here. One widget, where Textual's footer is one a key, made anew each time."""

from __future__ import annotations

from typing import NamedTuple

from rich.segment import Segment
from textual import events
from textual.screen import Screen
from textual.strip import Strip

from inspector.tui.widgets.line_pane import LinePane


class Offer(NamedTuple):
    """A key on the line: where it begins, how it is written, what it does."""

    at: int
    key: str
    written: str
    label: str

    @property
    def width(self) -> int:
        """Columns with the gap behind it."""
        return len(self.written) + len(self.label) + 2


class KeyLine(LinePane, can_focus=False):
    """The bindings that are meant to be shown; a click presses the key."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; overflow: hidden; }
    KeyLine > .keys--key { color: $footer-key-foreground; background: $footer-key-background; text-style: bold; }
    KeyLine > .keys--label { color: $footer-description-foreground; background: $footer-description-background; }
    """
    COMPONENT_CLASSES = {"keys--key", "keys--label"}  # noqa: RUF012 - as Textual declares it

    def on_mount(self) -> None:
        """Follow what works."""
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, _screen: Screen[object]) -> None:
        self.changed()

    def offers(self) -> list[Offer]:
        """The keys that are shown, in the order of the bindings."""
        found: dict[str, Offer] = {}
        at = 0
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled and binding.action not in found:
                offer = Offer(at, binding.key, self.app.get_key_display(binding), binding.description)
                found[binding.action] = offer
                at += offer.width
        return list(found.values())

    def strip_of(self, line: int, width: int) -> Strip:
        """See LinePane."""
        key = self.get_component_rich_style("keys--key", partial=True)
        label = self.get_component_rich_style("keys--label", partial=True)
        segments = []
        for offer in self.offers() if line == 0 else []:
            segments += [Segment(offer.written, key), Segment(f" {offer.label} ", label)]
        return Strip(segments).adjust_cell_length(width).apply_style(self.ground).simplify()

    def on_click(self, event: events.Click) -> None:
        """Press the key under the mouse."""
        for offer in self.offers():
            if offer.at <= event.x < offer.at + offer.width - 1:
                self.app.simulate_key(offer.key)
