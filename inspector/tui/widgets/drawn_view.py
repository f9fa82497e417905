"""Lines that are drawn elsewhere: a picture in text, without a cursor."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from textual.geometry import Size

from inspector.tui.drawn import Drawn
from inspector.tui.widgets.line_view import LineView


class DrawnView(LineView, can_focus=False):
    """As many lines as ``draw`` gives for a width."""

    has_cursor = False

    def __init__(self, draw: Callable[[int], list[Drawn]], name: str, classes: str = "") -> None:
        super().__init__(name)
        self.set_class(bool(classes), *classes.split())
        self.draw = draw
        self._lines: list[Drawn] = []

    def resized(self) -> None:
        """See LineView; the picture is drawn anew."""
        height = len(self._lines)
        self._lines = self._drawn(self.scrollable_content_region.width)
        super().resized()
        # Where the pane's height is given, the screen stays as it is laid out.
        if len(self._lines) != height and self.styles.auto_dimensions:
            self.refresh(layout=True)

    def line_count(self) -> int:
        """See LineView."""
        return len(self._lines)

    def get_content_height(self, _container: Size, _viewport: Size, width: int) -> int:
        """As many lines as the picture has."""
        return len(self._drawn(width))

    def _drawn(self, width: int) -> list[Drawn]:
        # A view that has no place on screen yet, or none any more, has no width.
        return self.draw(width) if width > 0 else []

    def paint(self, line: int, width: int) -> list[Segment]:  # noqa: ARG002
        """See LineView."""
        return [Segment(piece.text, self.style_of(piece.style) if piece.style else None) for piece in self._lines[line]]
