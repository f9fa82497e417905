"""The XSTATE lab: components at every level, events by key, the timeline, the outcome."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType

from inspector.export.machine_state import use_sentence
from inspector.machine.x86.world.gates import Gate
from inspector.tui import lab_keys
from inspector.tui.byte_map import map_heading, map_lines
from inspector.tui.chain import chain_heading, chain_lines, gate_at, opener_of
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.key import bindings
from inspector.tui.lanes import costs_words
from inspector.tui.screens.world_lab import WIDE_COLUMNS, WorldLabScreen
from inspector.tui.wanted import BytesWanted
from inspector.tui.widgets.component_matrix import ComponentMatrix
from inspector.tui.widgets.drawn_view import DrawnView
from inspector.tui.widgets.line_view import fitted
from inspector.tui.widgets.outcome_pane import OutcomePane, gate_text, gates_text
from inspector.tui.xstate_lab_session import XstateLabSession

#: Lines of a terminal in which every actor's reason is told; gates and buffer are both drawn; one of them is.
_HIGH, _MIDDLE, _LOW = 40, 33, 20
#: What timeline and outcome need, and the frame: title, names of the columns, footer.
_BELOW_LINES, _FRAME_LINES = 9, 4


class XstateLabScreen(WorldLabScreen):
    """A simulated host, process and vCPU to play with."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.XSTATE_LAB)
    keys_name = "xstate lab"
    DEFAULT_CSS = """
    XstateLabScreen.high #gates, XstateLabScreen.high #buffer { margin-top: 1; }
    XstateLabScreen.low .picture, XstateLabScreen.middle #buffer { display: none; }
    XstateLabScreen.middle.buffer #buffer { display: block; }
    XstateLabScreen.middle.buffer #gates { display: none; }
    """
    session: XstateLabSession
    # The last component is the one that matters where there is AMX.
    first_row = -1
    #: The gate that was clicked last: of which component and actor, and as it was.
    _clicked: tuple[int, str, Gate] | None = None

    def make_matrix(self) -> ComponentMatrix:
        """See WorldLabScreen."""
        return ComponentMatrix(self.session)

    @property
    def matrix(self) -> ComponentMatrix:
        """The components."""
        return self.query_one(ComponentMatrix)

    def make_pictures(self) -> Iterable[DrawnView]:
        """See WorldLabScreen."""
        pictures = {"legend": self._legend, "gates": self._gates, "buffer": self._buffer}
        return [DrawnView(draw, name, "picture") for name, draw in pictures.items()]

    def fit(self, width: int, height: int) -> None:
        """See WorldLabScreen: which pictures there is room for."""
        self.set_class(height >= _HIGH, "high")
        self.set_class(_LOW <= height < _MIDDLE, "middle")
        self.set_class(height < _LOW, "low")
        self.show_head(width)
        self.query_one("#gates", DrawnView).resized()
        drawn = (
            0 if height < _LOW else len(self._gates(width)) + (len(self._buffer(width)) + 1 if height >= _MIDDLE else 0)
        )
        below = _BELOW_LINES if width >= WIDE_COLUMNS else _BELOW_LINES + 1
        self.matrix.styles.max_height = max(2, height - _FRAME_LINES - drawn - below)

    def _legend(self, width: int) -> list[Drawn]:
        """What the chosen column of the matrix says."""
        text = self.matrix.legend(self.app.size.width)
        return [[Piece(f"  ↑ {fitted(text, width - 4)}", "quiet")]] if text else []

    def _gates(self, width: int) -> list[Drawn]:
        """The gates of the selected component."""
        row, brief = self.matrix.row(), self.app.size.height < _HIGH
        found = self.session.chains(row.number)
        lines = [chain_heading(row.name, row.number, width), *chain_lines(found, self.keys, width, brief=brief)]
        if self.session.world.is_down:
            sentence = f"the host is down: nothing runs on it any more · {self.keys['lab.undo']} takes the event back"
            lines[1:] = [[Piece(fitted(sentence, width), "bad")], *[[]] * (len(lines) - 2)]
        return lines

    def _buffer(self, width: int) -> list[Drawn]:
        """The buffer that the selected component is in, or is not."""
        before, now = self.session.buffers()
        return [map_heading(now), *map_lines(before, now, self.matrix.row().number, width)]

    def title_words(self) -> list[str]:
        """See WorldLabScreen."""
        session, scenario = self.session, self.session.scenario
        words = [scenario.host, session.world.host.kernel.title, scenario.policy]
        if session.world.is_down:
            words.insert(0, "HOST DOWN")
        if session.world.steps:
            words.append(costs_words(session.world.costs_by_name()))
        return words

    def show_head(self, width: int) -> None:
        """See WorldLabScreen."""
        self.say("columns", self.matrix.heading(width))

    def action_event(self, event: str) -> None:
        """One of the events with a key; {row} is the selected component."""
        self.done(self.session.event(event, self.matrix.row().number))

    def action_flip(self, register: str) -> None:
        """Toggle the component's bit by a guest instruction."""
        self.done(self.session.toggle(register, self.matrix.row().number))

    def action_why(self) -> None:
        """What is between the selected component and a program in the guest."""
        row = self.matrix.row()
        pane = self.query_one(OutcomePane)
        evidence = self.session.world.host.evidence
        use = use_sentence(row.number, row.use, evidence) if row.use is not None else ""
        pane.tell(gates_text(row.name, self.session.chains(row.number), use, pane.text_width))

    @on(events.Click, "#columns")
    def _column_clicked(self, event: events.Click) -> None:
        self.matrix.click_column(event.x - self.matrix.styles.padding.left)

    @on(ComponentMatrix.ColumnChosen)
    def _column_chosen(self) -> None:
        self.show_head(self.app.size.width)
        self.draw()

    @on(events.Click, "#gates")
    async def _gate_clicked(self, event: events.Click) -> None:
        """A click explains a gate; a second one there presses the key that opens it."""
        picture, row = self.query_one("#gates", DrawnView), self.matrix.row()
        width, place = picture.scrollable_content_region.width, event.get_content_offset(picture)
        chains, brief = self.session.chains(row.number), self.app.size.height < _HIGH
        found = gate_at(chains, place.x, place.y - 1, width, brief=brief) if place is not None else None
        if found is None:
            return
        chain, gate = found
        opens, clicked = opener_of(gate), (row.number, chain.actor, gate)
        if opens and clicked == self._clicked:
            self._clicked = None
            await self.press(opens)
            return
        self._clicked = clicked
        pane = self.query_one(OutcomePane)
        pane.tell(gate_text(chain, gate, self.keys[opens] if opens else "", pane.text_width))

    def action_levels(self) -> None:
        """In a narrow terminal: the host's level or the guest's Linux."""
        self.matrix.inner = not self.matrix.inner
        self.show_all()

    def action_column(self, by: int) -> None:
        """Another column of the matrix, which the legend explains."""
        self.matrix.choose(by)
        self.show_head(self.app.size.width)
        self.draw()

    def action_picture_of(self) -> None:
        """In a low terminal: the buffer or the gates."""
        self.toggle_class("buffer")

    def bytes_wanted(self) -> BytesWanted:
        """See WorldLabScreen."""
        path = self.session.bytes_path(self.matrix.row().name)
        return BytesWanted(self.session.capture(), path, self.session.vcpu_number)
