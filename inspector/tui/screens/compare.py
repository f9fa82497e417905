"""The Compare screen: the fields of all vCPUs side by side, differences marked."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Static

from inspector.capture.errors import visible
from inspector.capture.model import Capture
from inspector.decode.values import short_hex
from inspector.tui.base_app import KeyedScreen
from inspector.tui.comparison import Comparison
from inspector.tui.widgets.line_view import LineView
from inspector.tui.widgets.prompt import Prompt

_PATH_WIDTH = 34
_CELL_WIDTH = 20


class CompareView(LineView):
    """One line a field, one column a vCPU; ``≠`` where they differ."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "column(-1)", "vCPUs left", show=False, id="compare.left"),
        Binding("right,l", "column(1)", "vCPUs right", show=False, id="compare.right"),
    ]

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison
        self.first = 0

    def line_count(self) -> int:
        """See LineView."""
        return len(self.comparison.shown)

    def columns(self, width: int) -> range:
        """The vCPUs that fit."""
        fit = max(1, (width - _PATH_WIDTH) // _CELL_WIDTH)
        return range(self.first, min(len(self.comparison.vcpus), self.first + fit))

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        path = self.comparison.shown[line]
        differs = self.comparison.differs(path)
        style = self.style_of("changed") if differs else None
        head = f"{'≠' if differs else ' '} {path}"
        segments = [Segment(f"{head[: _PATH_WIDTH - 1]:<{_PATH_WIDTH}}", style)]
        for column in self.columns(width):
            field = self.comparison.cell(path, column)
            cell_style: Style | None
            if field is None:
                text, cell_style = "-", self.style_of("quiet")
            elif field.value is None:
                text, cell_style = field.text, self.style_of("missing")
            else:
                short = path.startswith("id.")
                shown = short_hex(field.value, field.bits, _CELL_WIDTH - 2)
                text, cell_style = (f"{field.value} {field.text}" if short else shown), style
            segments.append(Segment(f"{text[: _CELL_WIDTH - 1]:<{_CELL_WIDTH}}", cell_style))
        return segments

    def action_column(self, by: int) -> None:
        """Other vCPUs, where not all fit."""
        last = max(0, len(self.comparison.vcpus) - len(self.columns(self.size.width)))
        self.first = max(0, min(self.first + by, last))
        self.refresh()
        self.screen.query_one("#names", Static).update(self.names())

    def names(self) -> str:
        """The heading: the vCPUs that are shown."""
        width = self.size.width or self.app.size.width
        cells = [
            f"{visible(self.comparison.vcpus[n].name)[: _CELL_WIDTH - 1]:<{_CELL_WIDTH}}" for n in self.columns(width)
        ]
        return f"{'':<{_PATH_WIDTH}}{''.join(cells)}"


class CompareScreen(KeyedScreen):
    """Differences between the vCPUs of one capture."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,c", "dismiss", "Back", id="compare.back"),
        Binding("d", "differences", "Only differences", id="compare.differences"),
        Binding("slash,f", "filter", "Filter", id="compare.filter", key_display="/"),
    ]
    DEFAULT_CSS = """
    CompareScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    CompareScreen #names { height: 1; text-style: bold; color: $accent; padding: 0 0 0 1; }
    CompareScreen CompareView { height: 1fr; padding: 0 0 0 1; }
    """

    def __init__(self, capture: Capture) -> None:
        super().__init__()
        self.capture = capture
        self.comparison = Comparison(capture)

    def compose(self) -> ComposeResult:
        """Title, names of the vCPUs, the table."""
        yield Static("", id="title", markup=False)
        yield Static("", id="names", markup=False)
        yield CompareView(self.comparison)
        yield Prompt()
        yield Footer(compact=True, show_command_palette=False)

    def help_screen(self) -> Screen[None]:
        """See KeyedScreen."""
        from inspector.tui.screens.view_help import CompareHelpScreen

        return CompareHelpScreen()

    def on_mount(self) -> None:
        """Fill the headings once the width is known."""
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        """How many vCPUs fit depends on the width."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        comparison = self.comparison
        comparison.refresh()
        view = self.query_one(CompareView)
        words = [visible(self.capture.target), f"{len(comparison.vcpus)} vCPUs", f"{len(comparison.shown)} fields"]
        if comparison.left_out:
            words.append(f"{comparison.left_out} further vCPUs left out")
        if comparison.only_differences:
            words.append("only differences")
        if comparison.filter_text:
            words.append(f"filter {comparison.filter_text!r}")
        if not comparison.shown:
            words.append("the vCPUs agree" if comparison.matches else "no path has it")
        self.query_one("#title", Static).update(" · ".join(words))
        self.query_one("#names", Static).update(view.names())
        view.resized()
        view.place(view.cursor)

    def action_differences(self) -> None:
        """All fields, or only those that differ."""
        self.comparison.only_differences = not self.comparison.only_differences
        self._show()

    def action_filter(self) -> None:
        """Ask for a part of the path."""
        self.query_one(Prompt).ask("filter", "only paths with:", self.comparison.filter_text)

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Filter; an empty text shows all again."""
        self.comparison.filter_text = event.text.strip()
        self.query_one(Prompt).close()
        self._show()

    def on_prompt_closed(self) -> None:
        """Back to the table."""
        self.set_focus(self.query_one(CompareView))
