"""The edits of a session as fields: what each was, what it is, and the command that makes them. Toolkit-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from inspector.capture.model import Area
from inspector.capture.overlay import Edit
from inspector.decode.fields import Field, FieldTable
from inspector.decode.values import short_hex
from inspector.diff.parts import parts
from inspector.tui.table import ShownTable

_PARTS_SHOWN = 4


class EditedField(NamedTuple):
    """A whole field that edits have changed, and the number of its vCPU: -1 the machine or process."""

    vcpu: int
    before: Field
    after: Field

    @property
    def path(self) -> str:
        """The field."""
        return self.after.path

    @property
    def assignment(self) -> str:
        """``FIELD=VALUE``, as ``inspector set`` takes it."""
        return f"{self.path}={self.after.value:#x}"

    def lines(self) -> list[str]:
        """All of it: the whole values with what they mean, and each part that differs."""
        fields = (("the file", self.before), ("edited", self.after))
        said = [f"{name:<10}{_whole(field)}  {field.text}".rstrip() for name, field in fields]
        for part in parts((self.before, self.after)):
            one, other = part.texts((self.before, self.after))
            said.append(f"  {part.name}: {one} → {other}")
        return said

    def words(self) -> str:
        """The value before and after, and what of it differs."""
        before, after = self.before, self.after
        said = [f"{_value(before)} → {_value(after)}"]
        differing = parts((before, after))
        for part in differing[:_PARTS_SHOWN]:
            one, other = part.texts((before, after))
            sign = "+" if part.values[1] else "-"
            said.append(f"{sign}{part.name}" if part.width == 1 else f"{part.name}: {one}→{other}")
        if len(differing) > _PARTS_SHOWN:
            said.append(f"and {len(differing) - _PARTS_SHOWN} more")
        return "  ".join(said)


def _value(field: Field) -> str:
    if field.value is None:
        return field.text
    return (hex(field.value) if field.bits <= 64 else short_hex(field.value, field.bits)) + (
        f" ({field.state})" if field.state else ""
    )


def _whole(field: Field) -> str:
    """A value with all its digits."""
    return field.text if field.value is None else f"{field.value:#x}"


def edited_fields(edits: Iterable[Edit], vcpu_of_area: Mapping[int, int]) -> list[EditedField]:
    """The fields that edits named, in their order, each once; those that are as they were again are left out."""
    found: dict[tuple[int, str], EditedField] = {}
    for edit in edits:
        area = edit.changes[0].area
        table, path = ShownTable(area), edit.label.partition(" = ")[0]
        # A bit or an element is told as its register, which is what the command sets.
        while (after := table.get(path)) is None and "." in path:
            path = path.rpartition(".")[0]
        before = FieldTable(_as_opened(area)).get(path)
        if after is not None and before is not None and after.value is not None and after[2:5] != before[2:5]:
            vcpu = vcpu_of_area[id(area)]
            found[vcpu, path] = EditedField(vcpu, before, after)
    return list(found.values())


def _as_opened(area: Area) -> Area:
    """The area with the bytes that were opened."""
    return Area(area.layout, area.prefix, area.title, area.original, area.origin, attributes=area.attributes)
