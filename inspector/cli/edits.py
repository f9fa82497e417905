"""``FIELD=VALUE`` on a command line: an edit of a capture in memory."""

from __future__ import annotations

from typing import Any

from inspector.capture.errors import UsageError
from inspector.capture.model import Area, Capture, Vcpu
from inspector.capture.overlay import Overlay
from inspector.cli.field_names import field_hint
from inspector.decode.edit import set_field
from inspector.decode.fields import FieldTable


def edited(capture: Capture, vcpu: Vcpu, text: str) -> dict[str, Any]:
    """Make one edit: its path, the value before and after. Raises UsageError and EditError."""
    path, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text}: expected FIELD=VALUE")
    area, table = _area_of(capture, vcpu, path)
    spec = table.find(path)[0]
    before = table.decode(spec).value
    set_field(Overlay(), table, spec, value)
    after = FieldTable(area).decode(spec).value
    return {"path": path, "before": _hex(before), "after": _hex(after)}


def _area_of(capture: Capture, vcpu: Vcpu, path: str) -> tuple[Area, FieldTable]:
    for area in (*vcpu.areas, *capture.context):
        table = FieldTable(area)
        if table.get(path) is not None:
            return area, table
    raise UsageError(f"{path}: no such field; {field_hint(path, capture, [vcpu])}")


def _hex(value: int | None) -> str | None:
    return None if value is None else hex(value)
