"""A state as JSON (docs/json.md): registers are hex strings, for JSON numbers lose bits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from inspector.capture.model import Capture, Vcpu
from inspector.decode.fields import Field
from inspector.decode.notes import Note, notes_of
from inspector.export import kinds
from inspector.export.select import selected
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TextIO


def write_json(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu], patterns: Sequence[str]) -> int:
    """Write a capture, one vCPU after the other; the number of fields written."""
    head = {
        **kinds.head("state"),
        "target": capture.target,
        "format": capture.format,
        "partial": partial(capture),
        "notices": capture.notices,
    }
    context = [field.as_json() for _, fields in selected(capture.context, patterns) for field in fields]
    written = len(context)
    # Escaped beyond ASCII: whatever a file brings is JSON in any encoding, lone surrogates too.
    encode = json.JSONEncoder().encode
    out.write(encode(head)[:-1] + ', "context": ' + encode(context) + ', "vcpus": [')
    for nth, vcpu in enumerate(vcpus):
        notes = notes_of(capture, vcpu)
        fields = [_noted(field, notes) for _, fields in selected(vcpu.areas, patterns) for field in fields]
        written += len(fields)
        record = {"index": vcpu.index, "name": vcpu.name, "arch": vcpu.arch, "fields": fields}
        out.write((",\n" if nth else "\n") + encode(record))
    out.write("]}\n")
    return written


def _noted(field: Field, notes: Mapping[str, Note]) -> dict[str, Any]:
    """A field, with what the capture as a whole says about it."""
    note = notes.get(field.path)
    return field.as_json() | ({"note": note.text} if note is not None else {})


def partial(capture: Capture) -> dict[str, Any] | None:
    """Why a capture is partial: its first fault, and how many there are."""
    if not capture.faults:
        return None
    fault = capture.faults[0]
    return {
        "message": str(fault),
        "file": fault.file,
        "offset": fault.offset,
        "expected": fault.expected,
        "found": fault.found,
        "faults": len(capture.faults),
    }
