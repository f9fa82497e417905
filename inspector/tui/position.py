"""Where the user is in a capture: vCPU, area, row; how one goes elsewhere. Toolkit-free."""

from __future__ import annotations

from inspector.capture.bug import told
from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import Field
from inspector.tui.rows import Row, Rows
from inspector.tui.table import ShownTable


class Position:
    """A place in an opened capture."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        #: Why a vCPU has no areas, by its number.
        self.trouble: dict[int, str] = {}
        self.vcpu_number = -1
        self.area: Area | None = None
        self.rows: Rows | None = None
        self.cursor = 0
        self._rows_by_area: dict[int, tuple[Rows, int]] = {}
        self._vcpu_of_area: dict[int, int] = {}
        if capture.vcpus:
            self.select_vcpu(0)
        elif capture.context:
            self.select_area(capture.context[0])

    @property
    def vcpu(self) -> Vcpu | None:
        """The vCPU whose area is shown, or None in the process's own areas."""
        return self.capture.vcpus[self.vcpu_number] if self.vcpu_number >= 0 else None

    def areas(self) -> list[Area]:
        """The areas among which the user moves now; they are read when they are first asked for."""
        return self.areas_of(self.vcpu_number)

    def areas_of(self, number: int) -> list[Area]:
        """The areas of a vCPU, -1 those of the process; none where they cannot be read."""
        if number < 0:
            return self.capture.context
        if number not in self.trouble:
            try:
                return self.capture.vcpus[number].areas
            except Exception as error:  # noqa: BLE001 - shown instead of the fields
                self.trouble[number] = str(told(error))
        return []

    def select_vcpu(self, number: int) -> None:
        """Go to a vCPU (-1: the process), and there to the same field, else to the same area, or the best one."""
        prefix, row = (self.area.prefix if self.area else ""), self._row()
        self.vcpu_number = number
        areas = self.areas()
        if not areas:
            self.area, self.rows = None, None
            return
        wanted = [area for area in areas if area.prefix == prefix]
        self.select_area((wanted or [a for a in areas if a.layout == "xsave"] or areas)[0])
        if wanted and row is not None:
            self._go_to(row)

    def _row(self) -> Row | None:
        """The row under the cursor."""
        if self.rows is None or not self.rows.visible:
            return None
        return self.rows.visible[min(self.cursor, len(self.rows.visible) - 1)]

    def _go_to(self, row: Row) -> None:
        """To the row of this area that is what a row of another one was, where there is one."""
        assert self.rows is not None
        if row.spec is not None:
            found = self.rows.table.find(row.spec.path)
            if found:
                self.cursor = self.rows.reveal(found[0])
            return
        same = [at for at, other in enumerate(self.rows.visible) if other.spec is None and other.group == row.group]
        self.cursor = same[0] if same else self.cursor

    def select_area(self, area: Area) -> None:
        """Show an area; the cursor goes where it was there."""
        if self.area is not None and self.rows is not None:
            self._rows_by_area[id(self.area)] = (self.rows, self.cursor)
        self.area = area
        self._vcpu_of_area[id(area)] = self.vcpu_number
        if id(area) in self._rows_by_area:
            self.rows, self.cursor = self._rows_by_area[id(area)]
            self.rows.refresh(ShownTable(area))
        else:
            self.rows, self.cursor = Rows(ShownTable(area)), 0

    def field(self) -> Field | None:
        """The field under the cursor, or None on a heading."""
        row = self._row()
        return self.rows.table.decode(row.spec) if self.rows and row and row.spec else None

    def refresh(self) -> None:
        """The bytes have changed: decode again."""
        if self.area is not None and self.rows is not None:
            table = ShownTable(self.area)
            if table.specs != self.rows.table.specs:
                unfolded, folded = self.rows.unfolded, self.rows.folded
                self.rows = Rows(table)
                self.rows.unfolded, self.rows.folded = unfolded, folded
            self.rows.refresh(table)
            self.cursor = min(self.cursor, max(0, len(self.rows.visible) - 1))

    def filter(self, text: str) -> bool:
        """Show only fields of the area whose path or meaning has the text; empty shows all."""
        if self.rows is None:
            return False
        before, row = self.rows.filter_text, self._row()
        self.rows.filter_text = text.strip().lower()
        self.rows.refresh()
        if not self.rows.visible:
            self.rows.filter_text = before
            self.rows.refresh()
            return False
        self.cursor = 0
        if row is not None and not self.rows.filter_text:
            self._go_to(row)
        return True

    @property
    def is_filtered(self) -> bool:
        """Whether only some fields of the area are shown."""
        return self.rows is not None and bool(self.rows.filter_text)

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
        areas = [*current, *self.areas(), *self.capture.context]
        named = next((area for area in areas if area.prefix == word), None)
        if named is not None:
            self._show(named)
            self.cursor = 0
            return True
        tables = [ShownTable(area) for area in areas]
        for patterns in (("{word}",), ("{prefix}.{word}", "*.{word}", ""), ("*{word}*",)):
            for table in tables:
                wanted = (pattern.format(word=word, prefix=table.area.prefix) for pattern in patterns)
                tried = (table.find(pattern) if pattern else table.parts_named(word) for pattern in wanted)
                found = next((specs for specs in tried if specs), [])
                if found:
                    self._show(table.area)
                    assert self.rows is not None
                    self.cursor = self.rows.reveal(found[0])
                    return True
        return False

    def _show(self, area: Area) -> None:
        if area is not self.area:
            if area in self.capture.context:
                self.vcpu_number = -1
            self.select_area(area)

    def jump_to_byte(self, offset: int) -> bool:
        """Select the field that holds a byte of the area."""
        if self.rows is None:
            return False
        number = self.rows.table.at(offset)
        if number is None:
            return False
        self.cursor = self.rows.reveal(self.rows.table.specs[number])
        return True
