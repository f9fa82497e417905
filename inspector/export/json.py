"""A state as JSON (docs/json.md): registers are hex strings, for JSON numbers lose bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.notes import Note, notes_of
from inspector.export import kinds
from inspector.export.encode import encode
from inspector.export.json_fields import FieldWriter
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TextIO


def write_json(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu], patterns: Sequence[str]) -> int:
    """Write a capture as one object, one vCPU after the other; the number of fields written."""
    writer = FieldWriter(patterns)
    written, context = _fields(writer, capture.context, {})
    out.write(encode(_head(capture))[:-1] + f', "context": {_object(context)}, "vcpus": [')
    for nth, vcpu in enumerate(vcpus):
        number, record = _vcpu(writer, capture, vcpu)
        written += number
        out.write((",\n" if nth else "\n") + _object(record))
    out.write('],\n"meanings": [' + ",\n".join(writer.meanings) + "]}\n")
    return written


def write_json_lines(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu], patterns: Sequence[str]) -> int:
    """Write a capture as an object a line: the capture itself, then each vCPU; the number of fields written.

    A line has the meanings that no line before it has, so a reader never waits for the end.
    """
    writer = FieldWriter(patterns)
    written, context = _fields(writer, capture.context, {})
    head = {key: encode(value) for key, value in _head(capture).items()}
    out.write(_object(head | {"context": _object(context)} | _new_meanings(writer)) + "\n")
    for vcpu in vcpus:
        number, record = _vcpu(writer, capture, vcpu)
        written += number
        out.write(_object(record | _new_meanings(writer)) + "\n")
    return written


def _head(capture: Capture) -> dict[str, Any]:
    return {
        **kinds.head("state"),
        "target": capture.target,
        "format": capture.format,
        "partial": partial(capture),
        "notices": capture.notices,
    }


def _object(parts: Mapping[str, str]) -> str:
    """An object of parts that are JSON already."""
    return "{" + ", ".join([f'"{key}": {part}' for key, part in parts.items()]) + "}"


def _vcpu(writer: FieldWriter, capture: Capture, vcpu: Vcpu) -> tuple[int, dict[str, str]]:
    """The number of fields of a vCPU, and its object. Its areas are given back behind it."""
    number, record = _fields(writer, vcpu.areas, notes_of(capture, vcpu))
    vcpu.release()
    return number, {"index": str(vcpu.index), "name": encode(vcpu.name), "arch": encode(vcpu.arch)} | record


def _fields(writer: FieldWriter, areas: Sequence[Area], notes: Mapping[str, Note]) -> tuple[int, dict[str, str]]:
    """How many fields some areas have, where the areas begin in the file, and the fields."""
    found: list[str] = []
    begin: dict[str, int | None] = {}
    for area in areas:
        fields = writer.fields(area, notes)
        if fields:
            begin[area.prefix] = None if area.attributes.get("synthesized") else area.origin.offset
            found += fields
    return len(found), {"areas": encode(begin), "fields": f"[{', '.join(found)}]"}


def _new_meanings(writer: FieldWriter) -> dict[str, str]:
    """The meanings that came up since the last time, by number; the writer forgets their text."""
    new = {str(number): text for number, text in enumerate(writer.meanings) if text}
    writer.meanings[:] = [""] * len(writer.meanings)
    return {"meanings": _object(new)} if new else {}


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
