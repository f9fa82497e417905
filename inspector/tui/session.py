"""What the terminal interface works on: the capture, where the user is, the edits.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping

from inspector.capture.bug import told
from inspector.capture.errors import EditError
from inspector.capture.model import Area, Capture, Vcpu
from inspector.capture.overlay import Edit, Overlay
from inspector.decode.edit import set_field, toggle
from inspector.decode.fields import Field, FieldTable
from inspector.decode.notes import Note, notes_of
from inspector.decode.spec import FieldSpec
from inspector.export.files import file_name, save_new
from inspector.export.vcpu import write_vcpu
from inspector.lint.findings import Finding
from inspector.readers.options import Options
from inspector.tui.edits import EditedField, edited_fields
from inspector.tui.elements import Elements
from inspector.tui.findings import both, finding_marks
from inspector.tui.rows import Row, Rows
from inspector.tui.table import ShownTable

#: Arm's names of features begin so.
_FEATURE = "feat_"


class Session:
    """One opened capture. ``options`` are those that it was opened with."""

    def __init__(self, capture: Capture, options: Options | None = None) -> None:
        self.capture = capture
        self.options = options or Options()
        #: Why a vCPU has no areas, by its number.
        self.trouble: dict[int, str] = {}
        self.overlay = Overlay()
        self._saved: list[Edit] = []
        #: By vCPU (-1: the process), the paths that are other values than before the target was read again.
        self.moved: Mapping[int, frozenset[str]] = {}
        self.vcpu_number = -1
        self.elements = Elements()
        self.area: Area | None = None
        self.rows: Rows | None = None
        self.cursor = 0
        self.search_text = ""
        #: The field that the last search found, and which match of how many it is.
        self._found = ("", "")
        self._rows_by_area: dict[int, tuple[Rows, int]] = {}
        self._vcpu_of_area: dict[int, int] = {}
        #: What lint marks, and the vCPU and the edits that it was made of.
        self._marks: tuple[tuple[int, ...], dict[str, Note]] | None = None
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

    def notes(self) -> Mapping[str, Note]:
        """What the capture as a whole and lint say about single fields of the shown vCPU, by path."""
        if self.vcpu is None or not self.areas():
            return {}
        state = (self.vcpu_number, *map(id, self.overlay.edits))
        if self._marks is None or self._marks[0] != state:
            self._marks = (state, finding_marks(self.capture, self.vcpu))
        return both(notes_of(self.capture, self.vcpu), self._marks[1])

    def go_to_finding(self, finding: Finding) -> bool:
        """To the vCPU and the field of a finding; whether the capture has the field."""
        numbers = {vcpu.index: number for number, vcpu in enumerate(self.capture.vcpus)}
        if finding.vcpu is not None:
            self.select_vcpu(numbers[finding.vcpu])
        return self.jump(finding.path)

    def step_element(self, by: int) -> None:
        """Another element type for vectors or tiles like the one under the cursor."""
        field = self.field()
        if field is not None and self.rows is not None:
            self.elements.step(field, self.rows.table, by)

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
            table = ShownTable(self.area)
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
        places = self._matches_in(areas)
        if not places:
            return False
        row = self._row()
        again = again and row is not None and row.spec is not None
        at = (here, self._place_of(row))
        if backwards:
            behind = [number for number, place in enumerate(places) if place < at or (place == at and not again)]
            number = behind[-1] if behind else len(places) - 1
        else:
            ahead = [number for number, place in enumerate(places) if place > at or (place == at and not again)]
            number = ahead[0] if ahead else 0
        if areas[places[number][0]] is not self.area:
            self.select_area(areas[places[number][0]])
        spec = self.rows.table.specs[places[number][1]]
        self.cursor = self.rows.reveal(spec)
        self._found = (spec.path, f"{number + 1} of {len(places)} for {self.search_text!r}")
        return True

    def found_text(self) -> str:
        """Which match of the search the field under the cursor is, while it is the one that was found."""
        row, (path, text) = self._row(), self._found
        return text if row is not None and row.spec is not None and row.spec.path == path else ""

    def _matches_in(self, areas: list[Area]) -> list[tuple[int, int]]:
        """Every match as the numbers of its area and of its spec there."""
        places = []
        for nth, area in enumerate(areas):
            table = self.rows.table if self.rows is not None and area is self.area else ShownTable(area)
            places += [(nth, number) for number, spec in enumerate(table.specs) if self._matches(table, spec)]
        return places

    def _place_of(self, row: Row | None) -> int:
        """The number of a row's spec in the area; of a heading, its first; of a bit or an element, its register's."""
        if self.rows is None or row is None:
            return 0
        spec = row.spec or self.rows.groups[row.group][0]
        numbers = {other.path: number for number, other in enumerate(self.rows.table.specs)}
        path = spec.path
        while path not in numbers and "." in path:
            path = path.rpartition(".")[0]
        return numbers.get(path, 0)

    def _shows_feature(self, spec: FieldSpec) -> bool:
        """The register is one by which Arm's feature of that name is seen (``FEAT_SVE2``)."""
        if not self.search_text.startswith(_FEATURE):
            return False
        from layouts.arm64.arm_features import places_of

        return spec.path in {f"sysreg.{register}" for register, _ in places_of(self.search_text)}

    def _matches(self, table: FieldTable, spec: FieldSpec) -> bool:
        if self._shows_feature(spec) or self.search_text in spec.path.lower() or self.search_text in spec.title.lower():
            return True
        if spec.kind in ("vector", "tile", "bytes", "gap", "reserved"):
            return False
        return self.search_text in table.decode(spec).text.lower()

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
        for patterns in (("{word}",), ("{prefix}.{word}", "*.{word}"), ("*{word}*",)):
            for table in tables:
                wanted = (pattern.format(word=word, prefix=table.area.prefix) for pattern in patterns)
                found = next((specs for pattern in wanted if (specs := table.find(pattern))), [])
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

    # Copying

    def value_text(self) -> str:
        """What the copy key copies: the value in hex, or that it was not captured."""
        field = self.field()
        if field is None:
            return ""
        return "not captured" if field.value is None else hex(field.value)

    def command(self) -> str:
        """The command that prints what is selected, edits of this vCPU and all."""
        words = self._words("show", self.vcpu_number)
        for edit in self.edited_fields():
            if edit.vcpu in (self.vcpu_number, -1):
                words += ["--set", edit.assignment]
        field = self.field()
        if field is not None:
            words += ["--field", field.path]
        elif self.area is not None:
            words += ["--field", f"{self.area.prefix}.*"]
        return shlex.join(words)

    def _words(self, command: str, vcpu: int) -> list[str]:
        """A command on the target, as it was opened."""
        words = ["inspector", command, self.capture.target]
        words += ["--layout", self.options.layout] if self.options.layout else []
        words += ["--as", self.options.as_format] if self.options.as_format else []
        return words + (["--vcpu", str(vcpu)] if vcpu >= 0 and len(self.capture.vcpus) > 1 else [])

    # Keeping edits

    def edited_fields(self) -> list[EditedField]:
        """What the edits have changed."""
        return edited_fields(self.overlay.edits, self._vcpu_of_area)

    def set_commands(self) -> str:
        """The ``inspector set`` commands that make the edits, one for each vCPU."""
        found: dict[int, list[str]] = {}
        for edit in self.edited_fields():
            found.setdefault(edit.vcpu, []).append(edit.assignment)
        return "; ".join(shlex.join([*self._words("set", vcpu), *edits]) for vcpu, edits in found.items())

    def name_of(self, vcpu: int) -> str:
        """A vCPU's name; -1 is the machine or process."""
        return self.capture.vcpus[vcpu].name or f"vCPU {vcpu}" if vcpu >= 0 else "process"

    def file_name(self) -> str:
        """A name for the edited capture that is not taken in the current folder."""
        stem = os.path.basename(self.capture.target.rstrip("/")).rpartition(":")[2].removesuffix(".vcpu")
        return file_name(f"{stem}-edited.vcpu", os.listdir())

    def save(self, path: str) -> bool:
        """Write the capture as it is now to a new file. Raises EditError for another kind of name, OutputError."""
        path = path.strip()
        if not path.endswith(".vcpu"):
            raise EditError(f"{path}: an edited capture is a .vcpu file")
        save_new(path, lambda out: write_vcpu(out, self.capture))
        self._saved = self.overlay.edits
        return True

    def unsaved_edits(self) -> list[Edit]:
        """The edits in force, none when they have been saved."""
        edits = self.overlay.edits
        return [] if edits == self._saved else edits
