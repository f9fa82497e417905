"""The Compare screen: states side by side, what differs marked where it differs, and captures in the order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.tui import keys
from inspector.tui.base_app import KeyedScreen
from inspector.tui.comparison import Comparison, Line
from inspector.tui.key import bindings
from inspector.tui.wanted import FieldWanted
from inspector.tui.whole_values import values_text
from inspector.tui.widgets.compare_view import CompareView
from inspector.tui.widgets.key_line import KeyLine
from inspector.tui.widgets.line_view import LineView
from inspector.tui.widgets.prompt import Prompt
from inspector.tui.widgets.slider import slider_text
from inspector.tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from inspector.diff.changes import Difference
    from inspector.tui.compare_session import CompareSession

#: More sides than these are compared beside the screen, which is there at once.
_AT_ONCE = 8


class ValuesPane(TextPane):
    """The whole values of the selected field, in as many lines as the most so far took: the panes stay in place."""

    wraps = True
    _most = 0

    def take_size(self, size: Size) -> None:
        """See LinePane."""
        self._most = max(self._most, size.height)
        self.virtual_size = Size(size.width, self._most)


class CompareScreen(KeyedScreen):
    """Two states or more, field by field."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.COMPARE)
    keys_name = "compare"
    DEFAULT_CSS = """
    CompareScreen #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    CompareScreen #notice { height: auto; max-height: 2; display: none; padding: 0 1; }
    CompareScreen #notice.shown { display: block; }
    CompareScreen #slider { height: 1; display: none; padding: 0 1; }
    CompareScreen #slider.shown { display: block; }
    CompareScreen #names { height: 1; text-style: bold; color: $accent; padding: 0 0 0 1; }
    CompareScreen CompareView { height: 1fr; padding: 0 0 0 1; }
    CompareScreen ValuesPane { height: auto; max-height: 40%; padding: 0 1; border-top: solid $pane-edge; }
    """

    class Compared(Message):
        """What differs has been found."""

        def __init__(self, comparison: Comparison, found: Difference) -> None:
            super().__init__()
            self.comparison = comparison
            self.found = found

    def __init__(self, session: CompareSession) -> None:
        super().__init__()
        self.session = session
        self._edits = session.edits()

    @property
    def comparison(self) -> Comparison:
        """What is shown."""
        return self.session.comparison

    def compose(self) -> ComposeResult:
        """Title, what the readers said, the slider, names of the sides, the table, the whole values."""
        yield Static("", id="title", markup=False)
        yield Static("", id="notice", markup=False)
        yield Static("", id="slider", markup=False)
        yield Static("", id="names", markup=False)
        yield CompareView(self.comparison)
        yield ValuesPane()
        yield Prompt()
        yield KeyLine()

    def unsaved(self) -> str:
        """See KeyedScreen: where the captures were opened here, their edits go with this screen."""
        edits = self.session.unsaved_edits() if self.session.is_over_captures else 0
        return f"{edits} edit{'s' if edits > 1 else ''} would be lost: again leaves; Enter and S save" if edits else ""

    # Comparing

    def on_mount(self) -> None:
        """Compare."""
        self.query_one(ValuesPane).border_title = "whole values"
        self.query_one(CompareView).focus()
        self.compare()

    def compare(self) -> None:
        """Find what differs; of many sides beside the screen."""
        comparison = self.comparison
        if len(comparison.sides) <= _AT_ONCE:
            comparison.take(comparison.compare())
        else:
            self.run_worker(lambda: self._compare(comparison), thread=True, exclusive=True)
        self.call_after_refresh(self._show)

    def _compare(self, comparison: Comparison) -> None:
        self.post_message(self.Compared(comparison, comparison.compare()))

    @on(Compared)
    def _compared(self, event: Compared) -> None:
        event.comparison.take(event.found)
        self._show()

    def on_screen_resume(self) -> None:
        """Back from a field: an edit there changes what differs."""
        if self._edits != self.session.edits():
            self._edits = self.session.edits()
            self.compare()

    # Painting

    def on_resize(self) -> None:
        """How many sides fit depends on the width."""
        self.call_after_refresh(self._show)

    def _show(self, line: Line | None = None) -> None:
        """Paint what is compared now, at a line or where the cursor is."""
        view = self.query_one(CompareView)
        line = line or view.line()
        if self.comparison.found is not None:
            self.comparison.refresh()
        view.comparison = self.comparison
        view.resized()
        view.go_to(line)
        self._show_selection()

    def _show_selection(self) -> None:
        """Titles, slider and the whole values, which follow the cursor."""
        view, comparison = self.query_one(CompareView), self.comparison
        # One line each: what they say lays out nothing anew.
        self.query_one("#title", Static).update(visible(" · ".join(self._words())), layout=False)
        self.query_one("#names", Static).update(view.names(), layout=False)
        notice, said = self.query_one("#notice", Static), visible(self.session.notice())
        if said != notice.content:
            notice.update(said)
            notice.set_class(bool(said), "shown")
        path = view.line().path
        values = self.query_one(ValuesPane)
        values.display = bool(path)
        values.tell(values_text(comparison, path) if path else Text())
        slider = self.query_one("#slider", Static)
        slider.set_class(comparison.step is not None, "shown")
        if comparison.step is not None and comparison.found is not None:
            names = [side.name for side in comparison.sides]
            counts, width = comparison.step_counts(), self.app.size.width - 2
            slider.update(slider_text(names, counts, comparison.step, comparison.steps(path), width))

    def _words(self) -> list[str]:
        comparison = self.comparison
        words = []
        if comparison.filter_text:
            words.append(f"filter {comparison.filter_text!r}, Esc: all")
        if comparison.emptiness():
            words.append(comparison.emptiness())
        elif comparison.only_differences:
            words.append(f"{comparison.shown_paths} differ")
        else:
            words.append(f"{comparison.shown_paths} fields, equal ones too")
        return [*words, self.session.title()]

    @on(LineView.Moved)
    def _moved(self) -> None:
        self._show_selection()

    @on(LineView.Chosen)
    def _chosen(self) -> None:
        if self.query_one(CompareView).line().path:
            self.action_field()
        else:
            self.action_fold()

    # Moving

    @on(events.Click, "#names")
    def _name_clicked(self, event: events.Click) -> None:
        view = self.query_one(CompareView)
        view.click_column(event.x - view.styles.padding.left)

    def action_column(self, by: int) -> None:
        """Another side; in time another step."""
        view, comparison = self.query_one(CompareView), self.comparison
        if comparison.step is None:
            view.move_column(by)
            return
        comparison.step = max(0, min(comparison.step + by, len(comparison.sides) - 2))
        view.side = comparison.step + 1
        self._show()

    def action_row(self, by: int) -> None:
        """Another vCPU of the captures."""
        if self.session.select_row(self.session.number + by):
            self.compare()
        elif not self.session.is_over_captures:
            self.notify("the vCPUs are the columns: ← →", timeout=2)

    def action_difference(self, by: int) -> None:
        """The next or the previous field that differs; a folded section opens for it."""
        comparison, view = self.comparison, self.query_one(CompareView)
        places = [(section, path) for section in _sections(comparison) for path in comparison.sections[section]]
        here = view.line()
        at = next(
            (n for n, (section, path) in enumerate(places) if section == here.section and path == here.path), None
        )
        if at is None:
            first = next((n for n, (section, _) in enumerate(places) if section == here.section), 0)
            at = first - 1 if by > 0 else first
        order = range(at + 1, len(places)) if by > 0 else range(at - 1, -1, -1)
        found = next((places[n] for n in order if comparison.differs(places[n][1])), None)
        if found is None:
            self.notify("no further difference", timeout=2)
            return
        if comparison.is_folded(found[0]):
            comparison.turned ^= {found[0]}
        self._show(Line(*found))

    def action_fold(self) -> None:
        """Fold the section of the cursor, or unfold it."""
        line = self.query_one(CompareView).line()
        if line.section:
            self.comparison.turned ^= {line.section}
            self._show(Line(line.section))

    def action_field(self) -> None:
        """Go to the field in the capture of the selected side."""
        view = self.query_one(CompareView)
        path = view.line().path
        if not path:
            self.action_fold()
            return
        session, number = self.session.place(view.side)
        if number is None or self.comparison.field(path, view.side) is None:
            self.notify(f"{self.comparison.sides[view.side].name} has no such field", markup=False, timeout=3)
            return
        self.want(FieldWanted(session, path, number))

    # Looking

    def action_differences(self) -> None:
        """Only fields that differ, or all."""
        self.comparison.only_differences = not self.comparison.only_differences
        self._show()

    def action_reference(self) -> None:
        """The selected side is what the others are compared with; again: what most have is."""
        view, comparison = self.query_one(CompareView), self.comparison
        comparison.refer_to(None if comparison.reference == view.side else view.side)
        self._show()

    def action_time(self) -> None:
        """The captures as moments: what each step changes; again: side by side."""
        view, comparison = self.query_one(CompareView), self.comparison
        if not self.session.is_over_captures:
            self.notify("time is for captures in their order: inspector open A B C", markup=False, timeout=3)
            return
        comparison.step = max(0, view.side - 1) if comparison.step is None else None
        if comparison.step is not None:
            view.side = comparison.step + 1
        self._show()

    def action_filter(self) -> None:
        """Ask for a part of the path."""
        self.query_one(Prompt).ask("filter", "only paths with:", self.comparison.filter_text)

    def action_clear(self) -> None:
        """End the filter, else back, where there is something to go back to."""
        if self.comparison.filter_text:
            self.comparison.filter_text = ""
            self._show()
        elif len(self.app.screen_stack) > 1:
            self.dismiss()

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Filter; an empty text shows all again."""
        here = self.query_one(CompareView).line()
        self.comparison.filter_text = event.text.strip()
        self.query_one(Prompt).close()
        self.comparison.refresh()
        # To the first field that is left, unless this one is.
        self._show(here if here in self.comparison.lines and here.path else Line(""))

    def on_prompt_closed(self) -> None:
        """Back to the table."""
        self.set_focus(self.query_one(CompareView))

    # Taking away

    def action_copy_value(self) -> None:
        """Copy the value in the selected column."""
        view = self.query_one(CompareView)
        field = self.comparison.field(view.line().path, view.side) if view.line().path else None
        if field is not None and field.value is not None:
            self.app.copy_to_clipboard(hex(field.value))
            self.notify(f"sent to the terminal's clipboard: {field.value:#x}"[:80], markup=False, timeout=3)

    def action_copy_command(self) -> None:
        """Copy the command that prints what differs in the selected field."""
        path = self.query_one(CompareView).line().path
        if path:
            text = self.session.command(path, self.query_one(CompareView).side)
            self.app.copy_to_clipboard(text)
            self.notify(f"sent to the terminal's clipboard: {text}", markup=False, timeout=3)


def _sections(comparison: Comparison) -> list[str]:
    """The sections in the order of their lines."""
    return [line.section for line in comparison.lines if not line.path]
