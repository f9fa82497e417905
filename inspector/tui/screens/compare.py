"""The Compare screen: the fields of all vCPUs side by side, differences marked."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from inspector.capture.errors import visible
from inspector.capture.model import Capture
from inspector.tui import keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.comparison import Comparison
from inspector.tui.key import bindings
from inspector.tui.widgets.line_view import LineView, fitted
from inspector.tui.widgets.prompt import Prompt

_PATH_WIDTH = 34
#: The narrowest cell; and the widest, which is a 512-bit register in hex.
_CELL_WIDTH, _WHOLE_WIDTH = 20, 132


class CompareView(LineView):
    """One line a field, one column a vCPU; ``≠`` where they differ."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.COLUMNS)

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison
        self.first = 0

    def line_count(self) -> int:
        """See LineView."""
        return len(self.comparison.shown)

    def cell_width(self, width: int) -> int:
        """As wide as the terminal gives."""
        return max(_CELL_WIDTH, min(_WHOLE_WIDTH, (width - _PATH_WIDTH) // max(1, len(self.comparison.vcpus))))

    def columns(self, width: int) -> range:
        """The vCPUs that fit."""
        fit = max(1, (width - _PATH_WIDTH) // self.cell_width(width))
        return range(self.first, min(len(self.comparison.vcpus), self.first + fit))

    def paint(self, line: int, width: int) -> list[Segment]:
        """See LineView."""
        path = self.comparison.shown[line]
        odd, wide = self.comparison.odd(path), self.cell_width(width)
        mark = Segment("≠ " if odd else "  ", self.style_of("changed"))
        segments = [mark, Segment(f"{fitted(path, _PATH_WIDTH - 3):<{_PATH_WIDTH - 2}}")]
        for column in self.columns(width):
            field = self.comparison.cell(path, column)
            style: Style | None = self.style_of("changed") if column in odd else None
            if field is None:
                text, style = "-", style or self.style_of("quiet")
            elif field.value is None:
                text, style = field.text, self.style_of("missing")
            elif path.startswith("id."):
                text = f"{field.value} {field.text}"
            else:
                text = self.comparison.cell_text(path, field, wide - 1)
            segments.append(Segment(f"{fitted(text, wide - 1):<{wide}}", style))
        return segments

    def action_column(self, by: int) -> None:
        """Other vCPUs, where not all fit."""
        last = max(0, len(self.comparison.vcpus) - len(self.columns(self.size.width)))
        self.first = max(0, min(self.first + by, last))
        self.refresh()
        self.post_message(self.Moved(self, self.cursor))

    def names(self) -> str:
        """The heading: the vCPUs that are shown."""
        width = self.size.width or self.app.size.width
        wide = self.cell_width(width)
        names = (visible(self.comparison.vcpus[n].name) for n in self.columns(width))
        return f"{'':<{_PATH_WIDTH}}{''.join(f'{fitted(name, wide - 1):<{wide}}' for name in names)}"

    def path(self) -> str:
        """The path under the cursor; empty where nothing is shown."""
        shown = self.comparison.shown
        return shown[min(self.cursor, len(shown) - 1)] if shown else ""


def values_text(comparison: Comparison, path: str) -> Text:
    """The whole values of a row, by vCPU; the digits that differ are marked."""
    text = Text(f"{visible(path)}\n", "bold")
    differing = comparison.differing_digits(path)
    for columns, field in comparison.groups(path):
        names = ", ".join(comparison.vcpus[column].name for column in columns)
        text.append(f"{visible(names)}: ", "bold" if columns[0] in comparison.odd(path) else "")
        if field is None or field.value is None:
            text.append(f"{visible(field.text) if field else 'no such field'}\n")
            continue
        text.append("0x")
        for at, digit in enumerate(f"{field.value:0{-(-field.bits // 4)}x}"):
            text.append(digit, "bold reverse" if at in differing else "")
        text.append(f"  {visible(field.text)}\n")
    return text


class CompareScreen(KeyedScreen):
    """Differences between the vCPUs of one capture."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.COMPARE)
    keys_name = "compare"
    DEFAULT_CSS = """
    CompareScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    CompareScreen #names { height: 1; text-style: bold; color: $accent; padding: 0 0 0 1; }
    CompareScreen CompareView { height: 1fr; padding: 0 0 0 1; }
    CompareScreen #values { height: auto; max-height: 30%; padding: 0 1; border-top: solid $primary; }
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
        with VerticalScroll(id="values", can_focus=False):
            yield Static("", markup=False)
        yield Prompt()
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Fill the headings once the width is known."""
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        """How many vCPUs fit depends on the width."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        self.comparison.refresh()
        view = self.query_one(CompareView)
        view.resized()
        view.place(view.cursor)
        self._head()
        self.show_values()

    def _head(self) -> None:
        """Title and names of the vCPUs."""
        comparison = self.comparison
        view = self.query_one(CompareView)
        columns = view.columns(view.size.width or self.app.size.width)
        words = [self.capture.target, f"{len(comparison.vcpus)} vCPUs", f"{len(comparison.shown)} fields"]
        if len(columns) < len(comparison.vcpus):
            words.insert(2, f"{columns.start + 1} to {columns.stop} on screen, ← →")
        if comparison.left_out:
            words.append(f"{comparison.left_out} further vCPUs left out")
        if comparison.only_differences:
            words.append("only differences")
        if comparison.filter_text:
            words.append(f"filter {comparison.filter_text!r}")
        if not comparison.shown:
            words.append("the vCPUs agree" if comparison.matches else "no path has it")
        self.query_one("#title", Static).update(visible(" · ".join(words)))
        self.query_one("#names", Static).update(view.names())

    def on_line_view_moved(self) -> None:
        """The headings follow the columns, the whole values the cursor."""
        self._head()
        self.show_values()

    def show_values(self) -> None:
        """What the cells of the selected row have no room for."""
        path = self.query_one(CompareView).path()
        self.query_one("#values Static", Static).update(values_text(self.comparison, path) if path else "")

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
