"""The project's own capture file (docs/capture-file.md)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from inspector.capture import store
from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.placement import Room, XsaveTable
from inspector.readers.options import Options
from inspector.readers.source import Source
from layouts.registry import layouts

MAX_SIZE_BYTES = 2 << 30


#: Layouts that are no entry of the registry; what they need is in their attributes.
_BY_CONTENT = (
    "raw",
    "elf-auxv",
    "elf-file",
    "arm64-regs",
    "arm64-sve",
    "arm64-za",
    "qemu-section",
    "properties",
    "named-values",
)


class _MalformedError(Exception):
    """Something of the header is not what the format says; the text says what."""


def read(source: Source, _options: Options) -> Capture:
    """A capture file as the capture that was written."""
    data = source.read_all(MAX_SIZE_BYTES)
    head, _, rest = data.partition(b"\n")
    try:
        header = json.loads(head)
        version = _get(header, store.MAGIC_KEY, int)
        if version > store.VERSION:
            raise InputError(source.name, f"a capture file of version {store.VERSION} or older", f"version {version}")
        return _File(source, header, rest.split(b"\n"), len(head) + 1).capture()
    except (ValueError, RecursionError) as error:
        raise source.fault or InputError(source.name, "a JSON header line", str(error), 0) from error
    except _MalformedError as error:
        raise InputError(source.name, "a capture file", str(error), 0) from error


def _get(record: Any, key: str, kind: Any, default: Any = None) -> Any:
    """A member of a JSON object that has to be of a type; numbers have to be non-negative."""
    if not isinstance(record, dict):
        raise _MalformedError(f"{type(record).__name__} where an object should be")
    value: Any = record.get(key, default)
    fits = isinstance(value, kind) and not (kind is int and (isinstance(value, bool) or value < 0))
    if not fits:
        raise _MalformedError(f"{key}: {value!r:.40}")
    return value


class _File:
    """A capture file being read."""

    def __init__(self, source: Source, header: dict[str, Any], blobs: list[bytes], blobs_at: int) -> None:
        self.source = source
        self.header = header
        self.blobs = blobs
        self.faults: list[InputError] = []
        self.blob_offsets = [blobs_at]
        for blob in blobs:
            self.blob_offsets.append(self.blob_offsets[-1] + len(blob) + 1)

    def capture(self) -> Capture:
        header = self.header
        if _get(header, "partial", (dict, type(None))) is not None:
            was = header["partial"]
            expected, found = _get(was, "expected", str, ""), _get(was, "found", str, "")
            self.faults.append(InputError(_get(was, "file", str, ""), expected, found, was.get("offset")))
        context = [self.area(record) for record in _get(header, "context", list, [])]
        vcpus = [self.vcpu(record) for record in _get(header, "vcpus", list, [])]
        for vcpu in vcpus:
            for _ in vcpu.areas:
                pass
        if self.source.fault:
            self.faults.append(self.source.fault)
        return Capture(
            self.source.name,
            _get(header, "format", str, "vcpu"),
            vcpus,
            host=self.host(_get(header, "host", dict, {})),
            context=context,
            faults=self.faults,
            notices=[str(notice) for notice in _get(header, "notices", list, [])],
        )

    def host(self, record: dict[str, Any]) -> Host:
        cpuid = None
        rows = record.get("cpuid")
        if rows is not None:
            if not isinstance(rows, list) or not all(_is_words(row, 6) for row in rows):
                raise _MalformedError("host.cpuid: not rows of six numbers")
            cpuid = Cpuid({(row[0], row[1]): (row[2], row[3], row[4], row[5]) for row in rows})
        return Host(cpuid, _get(record, "kernel", str, ""), _get(record, "about", str, ""))

    def vcpu(self, record: Any) -> Vcpu:
        records = _get(record, "areas", list, [])
        make: Callable[[], Sequence[Area]] = partial(self.areas, records)
        return Vcpu(_get(record, "index", int), _get(record, "name", str), _get(record, "arch", str), make)

    def areas(self, records: list[Any]) -> list[Area]:
        return [self.area(record) for record in records]

    def area(self, record: Any) -> Area:
        layout = _get(record, "layout", str)
        attributes = {
            name: value
            for name, value in _get(record, "attributes", dict, {}).items()
            if name in store.PLAIN_ATTRIBUTES and isinstance(value, store.PLAIN_ATTRIBUTES[name])
        }
        _check_rows(attributes)
        if layout == "xsave":
            attributes["table"] = _table(_get(record, "xsave_table", dict))
        elif layout not in _BY_CONTENT and layout not in layouts():
            layout = "raw"
        declared = _get(record, "declared_size_bytes", int)
        data = self.blob(_get(record, "blob", int), _get(record, "sha256", str))
        return Area(
            layout,
            _get(record, "prefix", str),
            _get(record, "title", str),
            data,
            Origin(_get(record, "file", str), _get(record, "offset", int)),
            declared_size_bytes=min(declared, max(len(data), 1 << 24)),
            attributes=attributes,
        )

    def blob(self, number: int, sha256: str) -> bytes:
        """The bytes of a blob; what is missing or damaged is a fault and comes back empty."""
        if number >= len(self.blobs):
            found = f"{len(self.blobs)} blobs"
            self.faults.append(InputError(self.source.name, f"blob {number}", found, self.blob_offsets[-1]))
            return b""
        try:
            data = base64.b64decode(self.blobs[number], validate=True)
        except binascii.Error as error:
            self.faults.append(InputError(self.source.name, "base64", str(error), self.blob_offsets[number]))
            return b""
        if hashlib.sha256(data).hexdigest() != sha256:
            expected = f"blob {number} with SHA-256 {sha256[:12]}..."
            self.faults.append(InputError(self.source.name, expected, "other bytes", self.blob_offsets[number]))
        return data


def _is_words(row: Any, count: int) -> bool:
    return isinstance(row, list) and len(row) == count and all(isinstance(v, int) and 0 <= v < 1 << 32 for v in row)


def _table(record: dict[str, Any]) -> XsaveTable:
    rows = _get(record, "rooms", list)
    rooms = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 4 or not all(isinstance(v, int) for v in row[:3]):
            raise _MalformedError("xsave_table: a room is not [component, size, offset, align]")
        component, size, offset, align = row
        if not (2 <= component < 63 and 0 <= size <= 1 << 16 and 0 <= offset <= 1 << 16):
            raise _MalformedError("xsave_table: a room that no image can have")
        rooms.append(Room(component, size, offset, bool(align)))
    return XsaveTable(tuple(rooms), _get(record, "origin", str), _get(record, "guessed", bool))


def _check_rows(attributes: dict[str, Any]) -> None:
    """``fields`` and ``ids`` name bytes: each is of the shape that a reader gives it."""
    for row in attributes.get("fields", []):
        sound = isinstance(row, list) and len(row) == 6 and all(isinstance(text, str) for text in row[:3])
        if not sound or not all(isinstance(n, int) and 0 <= n < 1 << 32 for n in row[3:]):
            raise _MalformedError("fields: a row is not [section, name, type, offset, size, count]")
    for row in attributes.get("rows", []):
        if not isinstance(row, list) or len(row) != 2 or not all(isinstance(text, str) for text in row):
            raise _MalformedError("rows: not pairs of texts")
    for row in attributes.get("named", []):
        sound = isinstance(row, list) and len(row) == 3 and all(isinstance(text, str) for text in row[:2])
        if not sound or not isinstance(row[2], int) or not 0 < row[2] <= 1 << 16:
            raise _MalformedError("named: not rows of [path, kind, size]")
    if not _is_hex(attributes.get("unknown", "")):
        raise _MalformedError("unknown: not hex")
    if not all(isinstance(number, int) and 0 <= number < 1 << 64 for number in attributes.get("ids", [])):
        raise _MalformedError("ids: not register ids")


def _is_hex(text: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return True
