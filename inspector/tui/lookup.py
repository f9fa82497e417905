"""How things are found in a capture: search, marks, places one was at, what a field refers to. Toolkit-free."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from time import monotonic
from types import MappingProxyType
from typing import NamedTuple

from inspector.capture.model import Area, Capture
from inspector.export.words import counted
from inspector.tui.elements import Elements
from inspector.tui.links import link_of
from inspector.tui.position import Position
from inspector.tui.rows import Rows
from inspector.tui.search import EVERYWHERE, MOST_VCPUS, Match, Searcher
from inspector.tui.state import Place

_MOST_PLACES = 100


class _Spot(NamedTuple):
    """Where a search began: the place, and what was unfolded and hidden there."""

    place: Place
    area: Area | None
    rows: Rows | None
    cursor: int
    unfolded: frozenset[str]
    folded: frozenset[str]
    filter_text: str
    show_all: bool


class Lookup(Position):
    """A place in a capture, and what was found from there. ``elements``: types by the kind of a register."""

    def __init__(self, capture: Capture, elements: Mapping[str, str] = MappingProxyType({})) -> None:
        self.elements = Elements(elements)
        self.search_text = ""
        self.matches: list[Match] = []
        #: Which match was gone to.
        self._at = 0
        self._searcher = Searcher()
        #: The vCPUs that are still to be searched, and how many were.
        self._ahead: list[int] = []
        self._searched = 0
        self._ranked: list[tuple[int, int, bool, Match]] = []
        #: The areas that were searched, with the bytes that they had.
        self._looked_at: list[tuple[Area, object]] = []
        #: The area and the vCPU in which the search began: their matches come first.
        self._began = ("", -1)
        self._spot: _Spot | None = None
        self.marks: dict[str, Place] = {}
        self._before: list[Place] = []
        self._behind: list[Place] = []
        super().__init__(capture)

    def step_element(self, by: int) -> None:
        """Another element type for vectors or tiles like the one under the cursor."""
        field = self.field()
        if field is not None and self.rows is not None:
            self.elements.step(field, self.rows.table, by)

    # Searching

    def search(self, text: str, *, backwards: bool = False, again: bool = False) -> bool:
        """Go to the likeliest match of a text, ``again`` to the next one behind it; whether there is any.

        ``*`` before the text searches all vCPUs.
        """
        wanted = text.strip().lower()
        here = self.place()
        if not again or wanted != self.search_text or not self.matches:
            found = self._found(wanted)
        else:
            found = self._on(-1 if backwards else 1)
        if here != self.place():
            self._leave(here)
        return found

    def _on(self, by: int) -> bool:
        """To the next match; edits since the last one can have made others."""
        last = self.matches[self._at]
        if any(area.data is not data for area, data in self._looked_at):
            self.matches = self._matches(self.search_text)
        at = self.matches.index(last) if last in self.matches else 0
        if self.matches:
            self._at = (at + by) % len(self.matches)
            self._go_to_match(self.matches[self._at])
        return bool(self.matches)

    def _matches(self, text: str) -> list[Match]:
        """All of them, here and now."""
        self._begin(text)
        self._search_for(inf)
        return self._sorted()

    def _begin(self, text: str) -> None:
        """The vCPUs in which a text is to be looked for, the one that is looked at first."""
        first = self._began[1]
        self._searched, self._ranked, self._looked_at = 0, [], []
        self._ahead = [first] if text.removeprefix(EVERYWHERE).strip() else []
        if self._ahead and text.startswith(EVERYWHERE):
            count = len(self.capture.vcpus)
            every = [first, *(n % count for n in range(first + 1, first + min(count, MOST_VCPUS)))]
            self._ahead = list(reversed(dict.fromkeys(every)))

    def _search_for(self, seconds: float) -> None:
        """Look through vCPUs for so long, through one at least."""
        until, text = monotonic() + seconds, self.search_text.removeprefix(EVERYWHERE).strip()
        while self._ahead:
            number = self._ahead.pop()
            areas = self.areas_of(number)
            self._looked_at += [(area, area.data) for area in areas]
            for match in self._searcher.find(text, number, areas, self.elements):
                elsewhere = areas[match.area].prefix != self._began[0]
                self._ranked.append((match.rank, self._searched, elsewhere, match))
            self._searched += 1
            if monotonic() >= until:
                break

    def _sorted(self) -> list[Match]:
        self._ranked.sort()
        return [match for *_, match in self._ranked]

    @property
    def is_searching(self) -> bool:
        """Some vCPUs are still to be searched (``search_further``)."""
        return bool(self._ahead)

    def search_further(self, seconds: float) -> bool:
        """Look through more vCPUs, for so long; whether the first match came. Where one is stays where it is."""
        at = self.matches[self._at] if self.matches else None
        self._search_for(seconds)
        self.matches = self._sorted()
        if at is not None:
            self._at = self.matches.index(at)
        elif self.matches:
            self._at = 0
            self._go_to_match(self.matches[0])
        return at is None and bool(self.matches)

    def _go_to_match(self, match: Match) -> None:
        if match.vcpu != self.vcpu_number:
            self.select_vcpu(match.vcpu)
        area = self.areas()[match.area]
        if area is not self.area:
            self.select_area(area)
        assert self.rows is not None
        self.cursor = self.rows.reveal(self.rows.table.find(match.path)[0])

    def _is_at_match(self) -> bool:
        row = self._row()
        return bool(
            self.matches
            and row is not None
            and row.spec is not None
            and self.matches[self._at].vcpu == self.vcpu_number
            and self.matches[self._at].path == row.spec.path
        )

    def found_text(self) -> str:
        """Which match of the search the field under the cursor is, while it is the one that was found."""
        return f"{self.count_text()} for {self.search_text!r}" if self._is_at_match() else ""

    def count_text(self) -> str:
        """``2 of 6``; nothing before a text is typed."""
        if not self.search_text:
            return ""
        most = f" in {counted(self._searched, 'vCPU')}" if self._is_cut() or self._ahead else ""
        if self._ahead and not self.matches:
            return f"none yet{most}"
        return f"{self._at + 1} of {len(self.matches)}{most}" if self.matches else f"none{most}"

    def _is_cut(self) -> bool:
        return self.search_text.startswith(EVERYWHERE) and len(self.capture.vcpus) > MOST_VCPUS

    @property
    def highlighted(self) -> str:
        """The text that is marked in the list."""
        return self.search_text.removeprefix(EVERYWHERE).strip() if self.matches else ""

    def begin_search(self) -> None:
        """A text is going to be typed: keep where one is."""
        rows = self.rows
        self._spot = _Spot(
            self.place(),
            self.area,
            rows,
            self.cursor,
            frozenset(rows.unfolded if rows else ()),
            frozenset(rows.folded if rows else ()),
            rows.filter_text if rows else "",
            rows.show_all if rows else False,
        )

    def search_on(self, text: str, seconds: float = inf) -> bool:
        """What has been typed so far, from where one was, for so long (see ``search_further``)."""
        self._back_to_spot()
        return self._found(text.strip().lower(), seconds)

    def _found(self, wanted: str, seconds: float = inf) -> bool:
        self.search_text, self._at = wanted, 0
        self._began = (self.area.prefix if self.area is not None else "", self.vcpu_number)
        self._begin(wanted)
        self._search_for(seconds)
        self.matches = self._sorted()
        if self.matches:
            self._go_to_match(self.matches[0])
        return bool(self.matches)

    def end_search(self, *, keep: bool) -> None:
        """Stay at the match, or go back to where one was."""
        spot = self._spot
        if not keep:
            self._back_to_spot()
            self.forget_search()
        elif spot is not None and spot.place != self.place():
            self._leave(spot.place)
        self._spot = None

    def _back_to_spot(self) -> None:
        spot = self._spot
        if spot is None or spot.area is None or spot.rows is None:
            return
        self.vcpu_number = spot.place.vcpu
        if self.area is not spot.area:
            self.select_area(spot.area)
        rows = spot.rows
        rows.unfolded, rows.folded = set(spot.unfolded), set(spot.folded)
        rows.filter_text, rows.show_all = spot.filter_text, spot.show_all
        rows.refresh()
        self.rows, self.cursor = rows, spot.cursor

    def forget_search(self) -> bool:
        """Nothing is searched any more; whether something was."""
        had, self.search_text, self.matches, self._ahead = bool(self.matches), "", [], []
        return had

    # Places

    def place(self) -> Place:
        """Where one is: the field under the cursor, or the area."""
        row = self._row()
        path = row.spec.path if row is not None and row.spec is not None else ""
        return Place(path or (self.area.prefix if self.area is not None else ""), self.vcpu_number)

    def _remember(self) -> None:
        """One goes elsewhere: back leads here."""
        self._leave(self.place())

    def _leave(self, place: Place) -> None:
        if place.path and self._before[-1:] != [place]:
            self._before = [*self._before, place][-_MOST_PLACES:]
        self._behind = []

    def go_to(self, text: str) -> bool:
        """To a path, an offset or a vCPU that was typed (see jump); back leads here."""
        here = self.place()
        if not self.jump(text):
            return False
        if here != self.place():
            self._leave(here)
        return True

    def go_back(self) -> bool:
        """To where one was before the last search, jump, link or mark; whether there is such a place."""
        return self._step(self._before, self._behind)

    def go_forward(self) -> bool:
        """To where one was before going back."""
        return self._step(self._behind, self._before)

    def _step(self, to: list[Place], back: list[Place]) -> bool:
        here = self.place()
        while to:
            place = to.pop()
            if place != here:
                back.append(here)
                self._visit(place)
                return True
        return False

    def _visit(self, place: Place) -> bool:
        if place.vcpu != self.vcpu_number and -1 <= place.vcpu < len(self.capture.vcpus):
            self.select_vcpu(place.vcpu)
        return self.jump(place.path)

    def mark(self, letter: str) -> None:
        """Call this place by a letter."""
        self.marks[letter] = self.place()

    def go_to_mark(self, letter: str) -> bool:
        """To the place of a letter; whether there is one."""
        if letter not in self.marks:
            return False
        self._remember()
        return self._visit(self.marks[letter])

    def follow(self) -> bool:
        """To what the field under the cursor refers to; whether it does."""
        row = self._row()
        if self.rows is None or row is None or row.spec is None:
            return False
        path = link_of(self.rows.table.decode(row.spec), self.areas())
        return bool(path) and self.go_to(path)
