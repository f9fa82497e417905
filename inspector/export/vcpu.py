"""The project's own capture file (docs/capture-file.md): everything that was opened, lossless.

The first line is a JSON header, each further line one blob in base64.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, BinaryIO

from inspector.capture import store
from inspector.capture.model import Area, Capture
from inspector.export.json import partial


class _Blobs:
    """Blobs by content: equal bytes are stored once."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, data: bytes) -> int:
        digest = hashlib.sha256(data).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self.lines)
            self.lines.append(base64.b64encode(data))
        return self._numbers[digest]


def write_vcpu(out: BinaryIO, capture: Capture) -> None:
    """Write a capture. Unsaved edits are part of it: the bytes are what is shown now."""
    blobs = _Blobs()
    cpuid = capture.host.cpuid
    header = {
        store.MAGIC_KEY: store.VERSION,
        "target": capture.target,
        "format": capture.format,
        "partial": partial(capture),
        "notices": capture.notices,
        "host": {
            "kernel": capture.host.kernel,
            "about": capture.host.about,
            "cpuid": [[*key, *cpuid.leaves[key]] for key in cpuid] if cpuid else None,
        },
        "context": [_area(area, blobs) for area in capture.context],
        "vcpus": [
            {
                "index": vcpu.index,
                "name": vcpu.name,
                "arch": vcpu.arch,
                "areas": [_area(area, blobs) for area in vcpu.areas],
            }
            for vcpu in capture.vcpus
        ],
    }
    # Escaped beyond ASCII, as names may hold lone surrogates, which UTF-8 has no bytes for.
    out.write(json.dumps(header).encode() + b"\n")
    for line in blobs.lines:
        out.write(line + b"\n")


def _area(area: Area, blobs: _Blobs) -> dict[str, Any]:
    record: dict[str, Any] = {
        "layout": area.layout,
        "prefix": area.prefix,
        "title": area.title,
        "file": area.origin.file,
        "offset": area.origin.offset,
        "declared_size_bytes": area.declared_size_bytes,
        "attributes": store.plain_attributes(area.attributes),
        "blob": blobs.add(bytes(area.data)),
        "sha256": hashlib.sha256(area.data).hexdigest(),
    }
    table = area.attributes.get("table")
    if table is not None:
        record["xsave_table"] = {
            "origin": table.origin,
            "guessed": table.guessed,
            "rooms": [list(room) for room in table.rooms],
        }
    return record
