"""What the terminal interface works on: the capture, where the user is, the edits.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

from inspector.capture.errors import EditError
from inspector.capture.model import Area, Capture, Vcpu
from inspector.capture.overlay import Edit, Overlay
from inspector.decode.edit import set_field, toggle
from inspector.decode.fields import Field, FieldTable
from inspector.decode.spec import FieldSpec
from inspector.decode.values import BY_NAME, ELEMENTS
from inspector.tui.rows import Rows


class Session:
    """One opened capture."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.overlay = Overlay()
        self.vcpu_number = -1
        self.element = BY_NAME["x32"]
        self.area: Area | None = None
        self.rows: Rows | None = None
        self.cursor = 0
        self.search_text = ""
        self._rows_by_area: dict[int, tuple[Rows, int]] = {}
        if capture.vcpus:
            self.select_vcpu(0)
        elif capture.context:
            self.select_area(capture.context[0])

    @property
    def vcpu(self) -> Vcpu | None:
        """The vCPU whose area is shown, or None in the process's own areas."""
        return self.capture.vcpus[self.vcpu_number] if self.vcpu_number >= 0 else None

    def areas(self) -> list[Area]:
        """The areas among which the user moves now."""
        return self.vcpu.areas if self.vcpu else self.capture.context

    def select_vcpu(self, number: int) -> None:
        """Go to a vCPU (-1: the process) and there to the area that was shown before, or the best one."""
        prefix = self.area.prefix if self.area else ""
        self.vcpu_number = number
        areas = self.areas()
        if not areas:
            self.area, self.rows = None, None
            return
        wanted = [area for area in areas if area.prefix == prefix] or [a for a in areas if a.layout == "xsave"] or areas
        self.select_area(wanted[0])

    def select_area(self, area: Area) -> None:
        """Show an area; the cursor goes where it was there."""
        if self.area is not None and self.rows is not None:
            self._rows_by_area[id(self.area)] = (self.rows, self.cursor)
        self.area = area
        if id(area) in self._rows_by_area:
            self.rows, self.cursor = self._rows_by_area[id(area)]
            self.rows.refresh(FieldTable(area))
        else:
            self.rows, self.cursor = Rows(FieldTable(area)), 0

    def field(self) -> Field | None:
        """The field under the cursor, or None on a heading."""
        if self.rows is None or not self.rows.visible:
            return None
        row = self.rows.visible[min(self.cursor, len(self.rows.visible) - 1)]
        return self.rows.table.decode(row.spec) if row.spec else None

    def step_element(self, by: int) -> None:
        """Another element type for vectors and tiles."""
        number = ELEMENTS.index(self.element) + by
        self.element = ELEMENTS[number % len(ELEMENTS)]

    # Editing

    def toggle_bit(self) -> Edit | None:
        """Flip the bit under the cursor."""
        return self._edited(lambda rows, spec: toggle(self.overlay, rows.table, spec))

    def set_value(self, text: str) -> Edit | None:
        """Give the field under the cursor a value."""
        return self._edited(lambda rows, spec: set_field(self.overlay, rows.table, spec, text))

    def _edited(self, make: Callable[[Rows, FieldSpec], Edit | None]) -> Edit | None:
        field = self.field()
        if field is None or self.rows is None:
            raise EditError("no field is selected")
        edit = make(self.rows, field.spec)
        self.refresh()
        return edit

    def undo(self) -> Edit | None:
        """Take the last edit back and go to where it was."""
        return self._went(self.overlay.undo())

    def redo(self) -> Edit | None:
        """Make it again and go to where it is."""
        return self._went(self.overlay.redo())

    def _went(self, edit: Edit | None) -> Edit | None:
        if edit is not None:
            self.refresh()
        return edit

    def refresh(self) -> None:
        """The bytes have changed: decode again."""
        if self.area is not None and self.rows is not None:
            table = FieldTable(self.area)
            if table.specs != self.rows.table.specs:
                unfolded, folded = self.rows.unfolded, self.rows.folded
                self.rows = Rows(table)
                self.rows.unfolded, self.rows.folded = unfolded, folded
            self.rows.refresh(table)
            self.cursor = min(self.cursor, max(0, len(self.rows.visible) - 1))

    # Finding

    def search(self, text: str, *, backwards: bool = False, again: bool = False) -> bool:
        """Go to the next field whose path, title or text has the words; through all areas of the vCPU."""
        self.search_text = text.strip().lower()
        if not self.search_text or self.area is None or self.rows is None:
            return False
        areas = self.areas()
        here = areas.index(self.area) if self.area in areas else 0
        step = -1 if backwards else 1
        for distance in range(len(areas) + 1):
            area = areas[(here + step * distance) % len(areas)]
            table = self.rows.table if distance == 0 else FieldTable(area)
            spec = self._match(table, step, within=distance == 0, again=again)
            if spec is not None:
                if area is not self.area:
                    self.select_area(area)
                self.cursor = self.rows.reveal(spec)
                return True
        return False

    def _match(self, table: FieldTable, step: int, *, within: bool, again: bool) -> FieldSpec | None:
        """The first match of a table: behind the cursor, or anywhere."""
        specs = list(table.specs)[::step]
        if within and self.rows is not None and self.rows.visible:
            row = self.rows.visible[min(self.cursor, len(self.rows.visible) - 1)]
            current = row.spec or self.rows.groups[row.group][0]
            if current in specs:
                at = specs.index(current)
                specs = specs[at + (1 if again and row.spec is not None else 0) :]
        return next((spec for spec in specs if self._matches(table, spec)), None)

    def _matches(self, table: FieldTable, spec: FieldSpec) -> bool:
        if self.search_text in spec.path.lower() or self.search_text in spec.title.lower():
            return True
        if spec.kind in ("vector", "tile", "bytes", "gap", "reserved"):
            return False
        return self.search_text in table.decode(spec).text.lower()

    def filter(self, text: str) -> bool:
        """Show only fields of the area whose path or meaning has the text; empty shows all."""
        if self.rows is None:
            return False
        before = self.rows.filter_text
        self.rows.filter_text = text.strip().lower()
        self.rows.refresh()
        if not self.rows.visible:
            self.rows.filter_text = before
            self.rows.refresh()
            return False
        self.cursor = 0
        return True

    def jump(self, text: str) -> bool:
        """Go to a field by path (or glob), to a byte of the area by offset (0x...), to a vCPU (#n)."""
        word = text.strip()
        if word.startswith("#") and word[1:].isdecimal() and int(word[1:]) < len(self.capture.vcpus):
            self.select_vcpu(int(word[1:]))
            return True
        if word[:1].isdigit():
            try:
                return self.jump_to_byte(int(word, 0))
            except ValueError:
                return False
        current = [self.area] if self.area else []
        for area in [*current, *self.areas(), *self.capture.context]:
            table = FieldTable(area)
            patterns = (word, f"{area.prefix}.{word}", f"*.{word}", f"*{word}*")
            found = next((specs for pattern in patterns if (specs := table.find(pattern))), [])
            if found:
                if area is not self.area:
                    if area in self.capture.context:
                        self.vcpu_number = -1
                    self.select_area(area)
                assert self.rows is not None
                self.cursor = self.rows.reveal(found[0])
                return True
        return False

    def jump_to_byte(self, offset: int) -> bool:
        """Select the field that holds a byte of the area."""
        if self.rows is None:
            return False
        number = self.rows.table.at(offset)
        if number is None:
            return False
        self.cursor = self.rows.reveal(self.rows.table.specs[number])
        return True

    # Copying

    def value_text(self) -> str:
        """What the copy key copies: the value in hex, or that it was not captured."""
        field = self.field()
        if field is None:
            return ""
        return "not captured" if field.value is None else hex(field.value)

    def command(self) -> str:
        """The command that prints what is selected."""
        words = ["inspector", "show", self.capture.target]
        if self.vcpu_number >= 0 and len(self.capture.vcpus) > 1:
            words += ["--vcpu", str(self.vcpu_number)]
        field = self.field()
        if field is not None:
            words += ["--field", field.path]
        elif self.area is not None:
            words += ["--field", f"{self.area.prefix}.*"]
        return shlex.join(words)
