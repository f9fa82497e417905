"""What the terminal interface works on: the capture, where the user is, the edits.

Toolkit-free, so that it can be tested without a screen.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from inspector.capture.errors import EditError
from inspector.capture.model import Capture
from inspector.capture.overlay import Edit, Overlay
from inspector.decode.edit import set_field, toggle
from inspector.decode.notes import Note, notes_of
from inspector.decode.spec import FieldSpec
from inspector.readers.options import Options
from inspector.tui.lookup import Lookup
from inspector.tui.rows import Rows

if TYPE_CHECKING:
    from inspector.lint.findings import Finding
    from inspector.tui.edits import EditedField


class Session(Lookup):
    """One opened capture. ``options`` are those that it was opened with, ``elements`` types of elements by kind."""

    def __init__(
        self, capture: Capture, options: Options | None = None, elements: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.options = options or Options()
        self.overlay = Overlay()
        self._saved: list[Edit] = []
        #: By vCPU (-1: the process), the paths that are other values than before the target was read again.
        self.moved: Mapping[int, frozenset[str]] = {}
        #: What lint marks, and the vCPU and the edits that it was made of.
        self._marks: tuple[tuple[int, ...], dict[str, Note]] | None = None
        #: Whether lint has a say: the first frame does not wait for it.
        self.is_linted = True
        super().__init__(capture, elements)

    def notes(self) -> Mapping[str, Note]:
        """What the capture as a whole and lint say about single fields of the shown vCPU, by path."""
        if self.vcpu is None or not self.areas():
            return {}
        notes = notes_of(self.capture, self.vcpu)
        if not self.is_linted:
            return notes
        from inspector.tui.findings import both, finding_marks

        state = (self.vcpu_number, *map(id, self.overlay.edits))
        if self._marks is None or self._marks[0] != state:
            self._marks = (state, finding_marks(self.capture, self.vcpu))
        return both(notes, self._marks[1])

    def go_to_finding(self, finding: Finding) -> bool:
        """To the vCPU and the field of a finding; whether the capture has the field."""
        numbers = {vcpu.index: number for number, vcpu in enumerate(self.capture.vcpus)}
        if finding.vcpu is not None:
            self.select_vcpu(numbers[finding.vcpu])
        return self.jump(finding.path)

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
        from inspector.tui.edits import edited_fields

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
        from inspector.export.files import file_name

        stem = os.path.basename(self.capture.target.rstrip("/")).rpartition(":")[2].removesuffix(".vcpu")
        return file_name(f"{stem}-edited.vcpu", os.listdir())

    def save(self, path: str) -> bool:
        """Write the capture as it is now to a new file. Raises EditError for another kind of name, OutputError."""
        path = path.strip()
        if not path.endswith(".vcpu"):
            raise EditError(f"{path}: an edited capture is a .vcpu file")
        from inspector.export.files import save_new
        from inspector.export.vcpu import write_vcpu

        save_new(path, lambda out: write_vcpu(out, self.capture))
        self._saved = self.overlay.edits
        return True

    def unsaved_edits(self) -> list[Edit]:
        """The edits in force, none when they have been saved."""
        edits = self.overlay.edits
        return [] if edits == self._saved else edits
