"""Fields of several states side by side: what differs, in sections that fold. Toolkit-free."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from inspector.capture.model import Area
from inspector.decode.fields import Field
from inspector.decode.spec import FieldSpec
from inspector.decode.values import short_hex
from inspector.diff.changes import Change, Difference, Meaning, difference, meanings
from inspector.export.words import counted
from inspector.tui.table import ShownTable
from layouts.salience import volatile

#: The section of fields that differ between any two moments; it is the last one.
ALWAYS = "what always differs"
_FIRST_WORD = re.compile(r"[^.\[]+")
_Place = tuple[ShownTable, FieldSpec]


class Side(NamedTuple):
    """A column: its name, and how its areas are read."""

    name: str
    read: Callable[[], Sequence[Area]]


class Line(NamedTuple):
    """A line of the table: a field, or without a path the heading of a section."""

    section: str
    path: str = ""


class Comparison:
    """Lines are fields by path, columns are sides; what is equal is decoded when it is painted.

    ``reference`` is the side that the others are compared with; without one it is what most have. With ``step``
    the sides are moments in their order, and what is shown is what changed from that one to the next.
    """

    def __init__(self, sides: Sequence[Side]) -> None:
        self.sides = sides
        self.reference: int | None = None
        self.step: int | None = None
        self.only_differences = True
        self.filter_text = ""
        #: Sections that are folded and were not at first, or the other way round.
        self.turned: set[str] = set()
        self.lines: list[Line] = []
        self.found: Difference | None = None
        self.sections: dict[str, list[str]] = {}
        self._changes: dict[str, Change] = {}
        #: What each change means on each side, which sides are odd, which digits differ in the shown ones.
        self._meant: dict[str, list[Meaning | None]] = {}
        self._odd: dict[str, frozenset[int]] = {}
        self._digits: dict[tuple[str, int | None], frozenset[int]] = {}
        self._places: list[dict[str, _Place]] = []
        #: Of sections of which some side holds nothing: the sides that hold something.
        self._partial: dict[str, tuple[int, ...]] = {}

    def compare(self) -> Difference:
        """Find what differs. Changes nothing, so that it can be done beside the screen."""
        return difference([side.read() for side in self.sides], whole=True, table=ShownTable)

    def take(self, found: Difference) -> None:
        """Show what was found."""
        self.found = found
        self._changes = {change.path: change for change in found.changes}
        for known in (self._meant, self._odd, self._digits, self._places):
            known.clear()
        there: dict[str, set[int]] = {}
        for change in found.changes:
            holders = there.setdefault(section_of(change.path), set())
            holders.update(side for side, field in enumerate(change.fields) if field is not None)
        self._partial = {
            section: tuple(sorted(holders))
            for section, holders in there.items()
            if len(holders) < len(self.sides) and section != ALWAYS
        }
        self.refresh()

    # Fields

    def field(self, path: str, side: int) -> Field | None:
        """The field of a side, None where it has none."""
        change = self._changes.get(path)
        if change is not None:
            return change.fields[side]
        place = self._all()[side].get(path)
        return place[0].decode(place[1]) if place is not None else None

    def _meanings(self, path: str) -> list[Meaning | None]:
        known = self._meant.get(path)
        if known is None:
            known = self._meant[path] = meanings(self._changes[path].fields)
        return known

    def _all(self) -> list[dict[str, _Place]]:
        """Where each field of each side is; needed only where equal fields are shown too."""
        if not self._places:
            for side in self.sides:
                found: dict[str, _Place] = {}
                for table in map(ShownTable, side.read()):
                    for spec in table.specs:
                        if not spec.is_structure:
                            found.setdefault(spec.path, (table, spec))
                self._places.append(found)
        return self._places

    def all_paths(self) -> list[str]:
        """The paths of all sides, those of ID fields first, for they are what migration asks."""
        paths = dict.fromkeys(path for side in self._all() for path in side)
        paths.update(dict.fromkeys(self._changes))
        return sorted(paths, key=lambda path: not path.startswith("id."))

    def differs(self, path: str) -> bool:
        """Whether the sides have different values; with a step, whether this one changed it."""
        if self.step is not None:
            return self.step in self.steps(path)
        return path in self._changes

    def odd(self, path: str) -> frozenset[int]:
        """The sides that differ from the reference, or from what most have: of equally common ones the first."""
        if path not in self._changes:
            return frozenset()
        if self.step is not None:
            return frozenset({self.step + 1}) if self.step in self.steps(path) else frozenset()
        known = self._odd.get(path)
        if known is None:
            meant = self._meanings(path)
            usual = Counter(meant).most_common(1)[0][0] if self.reference is None else meant[self.reference]
            known = self._odd[path] = frozenset(at for at, meaning in enumerate(meant) if meaning != usual)
        return known

    def refer_to(self, side: int | None) -> None:
        """Compare the others with this side; None: with what most have."""
        self.reference = side
        self._odd.clear()

    def steps(self, path: str) -> list[int]:
        """The sides behind which the field changes."""
        if path not in self._changes:
            return []
        meant = self._meanings(path)
        return [at for at in range(len(meant) - 1) if meant[at] != meant[at + 1]]

    def step_counts(self) -> list[int]:
        """How many fields each step changes, without those that always differ."""
        counts = Counter(at for path in self._changes if not volatile(path) for at in self.steps(path))
        return [counts[at] for at in range(len(self.sides) - 1)]

    def groups(self, path: str) -> list[tuple[list[int], Field | None]]:
        """The shown sides by value: those that are not odd first."""
        shown = self.shown_sides()
        if path not in self._changes:
            return [([*shown], self.field(path, shown[0]))]
        odd, meant = self.odd(path), self._meanings(path)
        found: dict[object, list[int]] = {}
        for side in shown:
            found.setdefault(meant[side], []).append(side)
        groups = sorted(found.values(), key=lambda sides: (sides[0] in odd, sides[0]))
        return [(sides, self.field(path, sides[0])) for sides in groups]

    def digits(self, path: str) -> frozenset[int]:
        """The hex digits in which the shown sides differ."""
        key = (path, self.step)
        if key not in self._digits:
            self._digits[key] = differing_digits([field for _, field in self.groups(path)])
        return self._digits[key]

    def shown_sides(self) -> range:
        """All sides; with a step the two moments around it."""
        return range(len(self.sides)) if self.step is None else range(self.step, self.step + 2)

    def cell_text(self, path: str, side: int, width: int) -> str:
        """A field in a width; where it is cut, from the first digit on that differs."""
        field = self.field(path, side)
        if field is None:
            return "-"
        if field.value is None:
            return field.text
        if field.spec.kind == "text":
            return repr(field.text)
        state = f" {field.state}" if field.state else ""
        if path.startswith("id."):
            return f"{field.value} {field.text}"
        return _hex(field, self.digits(path), width - len(state)) + state

    # Lines

    def refresh(self) -> None:
        """Make the lines: what the filter leaves, by section; what always differs is last."""
        wanted = self.filter_text.lower()
        paths = list(self._changes) if self.only_differences else self.all_paths()
        self.sections = {}
        for path in paths:
            if wanted in path.lower() and (not self.only_differences or self.differs(path)):
                self.sections.setdefault(section_of(path), []).append(path)
        self.lines = []
        for section in sorted(self.sections, key=lambda name: (name == ALWAYS, name in self._partial)):
            self.lines.append(Line(section))
            if not self.is_folded(section):
                self.lines += [Line(section, path) for path in self.sections[section]]

    def is_folded(self, section: str) -> bool:
        """Whether only its heading is shown. What some sides lack altogether is, until it is asked for."""
        return not self.filter_text and (section in self.turned) != (section in self._partial)

    def heading(self, section: str) -> str:
        """What a section's heading says."""
        paths = self.sections[section]
        words = [f"{'▸' if self.is_folded(section) else '▾'} {section}"]
        words.append(counted(len(paths), "field"))
        if section in self._partial:
            words.append(f"only in {', '.join(self.sides[side].name for side in self._partial[section])}")
        elif not self.only_differences:
            words.append(f"{sum(map(self.differs, paths))} differ")
        return " · ".join(words)

    @property
    def shown_paths(self) -> int:
        """How many fields the filter leaves, folded ones too."""
        return sum(map(len, self.sections.values()))

    def emptiness(self) -> str:
        """Why there are no lines; nothing when there are some. That nothing matches says nothing about equality."""
        if self.found is None:
            return "comparing …"
        if self.lines:
            return ""
        if not self.filter_text:
            return (
                "nothing changes here" if self.step is not None else f"no field differs: {self.found.equal} are equal"
            )
        matching = sum(self.filter_text.lower() in path.lower() for path in self.all_paths())
        if not matching:
            return f"no field matches {self.filter_text!r}"
        return f"{matching} fields match {self.filter_text!r}, and none of them differs"


def section_of(path: str) -> str:
    """The section of a field: the first word of its path, unless it always differs."""
    found = _FIRST_WORD.match(path)
    return ALWAYS if volatile(path) else found[0] if found else path


def differing_digits(fields: Sequence[Field | None]) -> frozenset[int]:
    """The hex digits of a field, 0 the first that is written, in which the values differ."""
    there = [field for field in fields if field is not None and field.value is not None]
    widths = {digits(field.bits) for field in there}
    if len(widths) != 1:
        # Vectors of several lengths: no digit of one is a digit of the other.
        return frozenset()
    width = widths.pop()
    values = [field.value or 0 for field in there]
    differing = 0
    for value in values[1:]:
        differing |= value ^ values[0]
    return frozenset(at for at, digit in enumerate(f"{differing:0{width}x}") if digit != "0")


def digits(bits: int) -> int:
    """Hex digits of a width in bits."""
    return -(-bits // 4)


def _hex(field: Field, differing: frozenset[int], width: int) -> str:
    """A value in hex; cut to a width so that the first digit that differs is seen."""
    assert field.value is not None
    word = f"{field.value:0{digits(field.bits)}x}"
    if not differing or len(word) + 2 <= width:
        return short_hex(field.value, field.bits, width)
    room = max(1, width - len("0x……"))
    start = max(0, min(min(differing) - 1, len(word) - room))
    end = "…" if start + room < len(word) else ""
    return f"0x{'…' if start else ''}{word[start : start + room]}{end}"
