"""The rows of the field table: groups, fields, their bits and elements, as far as unfolded.

Toolkit-free: a widget only paints these.
"""

from __future__ import annotations

from typing import NamedTuple

from inspector.decode.spec import FieldSpec
from inspector.export.words import counted
from inspector.tui.table import ShownTable
from layouts.x86.xsave import COMPONENTS

_TITLES = {
    "legacy": "legacy region",
    "header": "header",
    "st": "x87 registers",
    "xmm": "SSE registers",
    "ymm": "AVX registers",
    "zmm": "AVX-512 registers",
    "xstate": "components: in use, offset, size",
    "gaps": "bytes that no field claims",
    "entries": "how the entries are stored",
    "types": "how the entries are stored",
}
_COMPONENTS = {component.name: component for component in COMPONENTS}

#: Groups that start folded: halves of registers that are shown whole, and structure.
_FOLDED = frozenset({"avx", "zmm_hi256", "hi16_zmm", "xstate", "gaps", "entries", "types", "st", "cpu", "slot"})


class Row(NamedTuple):
    """A line of the table: a group heading, or a field at a depth."""

    group: str
    spec: FieldSpec | None
    depth: int
    unfolds: bool


class Rows:
    """The visible rows of one area."""

    def __init__(self, table: ShownTable) -> None:
        self.table = table
        groups: dict[str, list[FieldSpec]] = {}
        for spec in table.specs:
            groups.setdefault(spec.group, []).append(spec)
        self.groups = groups
        self.folded = {name for name in groups if name in _FOLDED or name.startswith(("id.", "cpu/"))}
        if "ymm" in groups:
            self.folded.add("xmm")
        if "zmm" in groups:
            self.folded.add("ymm")
        self.unfolded: set[str] = set()
        self.elements: dict[str, str] = {}
        self.show_all = False
        self.filter_text = ""
        self.visible: list[Row] = []
        self.refresh()

    @property
    def has_headings(self) -> bool:
        """More than one group: each gets a heading."""
        return len(self.groups) > 1

    def refresh(self, table: ShownTable | None = None) -> None:
        """Build the visible rows again, after an edit from a new table."""
        self.table = table or self.table
        rows = []
        for name, group in self.groups.items():
            specs = [spec for spec in group if self._passes(spec)] if self.filter_text else group
            if self.filter_text and not specs:
                continue
            if self.has_headings:
                rows.append(Row(name, None, 0, unfolds=True))
                if name in self.folded and not self.filter_text:
                    continue
            depth = int(self.has_headings)
            for spec in specs:
                if spec.is_structure and not self.show_all and self._says_nothing(spec):
                    continue
                rows.append(Row(name, spec, depth, bool(spec.register) or spec.kind in ("vector", "tile")))
                if spec.path in self.unfolded:
                    want = self.elements.get(spec.path, "*")
                    rows += [Row(name, child, depth + 1, unfolds=False) for child in self.table.parts(spec, want)]
        self.visible = rows

    def _passes(self, spec: FieldSpec) -> bool:
        return self.filter_text in spec.path.lower() or self.filter_text in spec.title.lower()

    def _says_nothing(self, spec: FieldSpec) -> bool:
        """Padding that is zero, as it should be."""
        return spec.kind in ("reserved", "gap") and not self.table.decode(spec).value

    def toggle_fold(self, number: int) -> bool:
        """Fold or unfold a heading, a register with bits, a vector; whether it can be."""
        row = self.visible[number] if number < len(self.visible) else None
        if row is None or not row.unfolds:
            return False
        if row.spec is None:
            self.folded ^= {row.group}
        else:
            self.unfolded ^= {row.spec.path}
        self.refresh()
        return True

    def is_folded(self, row: Row) -> bool:
        """Whether a row that unfolds is folded."""
        return row.group in self.folded if row.spec is None else row.spec.path not in self.unfolded

    def reveal(self, spec: FieldSpec) -> int:
        """Unfold what hides a field and give the number of its row; a filter that hides it ends."""
        if self.filter_text and not self._passes(spec):
            self.filter_text = ""
            self.refresh()
        if spec.group in self.folded:
            self.folded.discard(spec.group)
            self.refresh()
        found = self._row_of(spec.path)
        if found is None and spec.is_structure and not self.show_all:
            self.show_all = True
            self.refresh()
            found = self._row_of(spec.path)
        if found is None:
            parent = next((s for s in self.groups.get(spec.group, ()) if spec.path.startswith(f"{s.path}.")), None)
            if parent is not None:
                self.unfolded.add(parent.path)
                self.elements[parent.path] = spec.path.removeprefix(f"{parent.path}.")
                self.refresh()
                found = self._row_of(spec.path)
        return found or 0

    def _row_of(self, path: str) -> int | None:
        for number, row in enumerate(self.visible):
            if row.spec is not None and row.spec.path == path:
                return number
        return None

    def heading(self, name: str) -> str:
        """What a group's heading says: its name, what it is, whether it is in use."""
        component = _COMPONENTS.get(name)
        title = component.title if component else _TITLES.get(name, "")
        words = [name] if not title else [name, title]
        count = len(self.groups[name])
        words.append(counted(count, "field"))
        state = self._state(name)
        if state:
            words.append(state)
        return " · ".join(words)

    def _state(self, name: str) -> str:
        specs = self.groups[name]
        states = {self.table.decode(spec).state for spec in specs[:1] + specs[-1:]}
        return "initial" if states == {"initial"} else ""
