"""The project's own capture file (docs/capture-file.md)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from inspector.capture import store
from inspector.capture.attributes import Room, XsaveTable
from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.budget import AREA_LIMIT_BYTES, Budget
from inspector.readers.numbers import is_number
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import parse_json, shown
from inspector.readers.unpack import CHUNK_SIZE_BYTES
from inspector.readers.vcpu_attributes import BY_CONTENT, MalformedError, checked_attributes
from layouts.light import partial
from layouts.registry import layouts

#: A core of 10,000 threads with AMX has 200 MB as a capture file.
MAX_SIZE_BYTES = 256 << 20
_MAX_HEADER_BYTES = 64 << 20
_MAX_BLOBS = 1 << 20


def read(source: Source, _options: Options) -> Capture:
    """A capture file as the capture that was written."""
    lines = _line_ends(source)
    head_size = lines[0]
    try:
        if head_size > _MAX_HEADER_BYTES:
            raise ValueError(f"more than {_MAX_HEADER_BYTES} bytes")
        header = parse_json(source.read(0, head_size), keep_halves=True)
        version = _get(header, store.MAGIC_KEY, int)
        if version > store.VERSION:
            raise InputError(source.name, f"a capture file of version {store.VERSION} or older", f"version {version}")
        return _File(source, header, lines).capture()
    except ValueError as error:
        raise source.fault or InputError(source.name, "a JSON header line", str(error), 0) from error
    except MalformedError as error:
        raise InputError(source.name, "a capture file", str(error), 0) from error


def _line_ends(source: Source) -> list[int]:
    """Where each line ends: the header's, then one for each blob. InputError when they are too many or too long."""
    ends: list[int] = []
    budget = Budget(source.name, "blobs", records=_MAX_BLOBS)
    at = 0
    while chunk := source.read(at, CHUNK_SIZE_BYTES):
        found = [at + match.start() for match in re.finditer(b"\n", chunk)]
        budget.take(at, len(found))
        ends += found
        at += len(chunk)
        if at > MAX_SIZE_BYTES:
            raise InputError(source.name, f"a capture file of at most {MAX_SIZE_BYTES} bytes", "more", at)
    return [*ends, at] if not ends or ends[-1] + 1 < at else ends


def _get(record: Any, key: str, kind: Any, default: Any = None) -> Any:
    """A member of a JSON object that has to be of a type; numbers have to be non-negative."""
    if not isinstance(record, dict):
        raise MalformedError(f"{type(record).__name__} where an object should be")
    value: Any = record.get(key, default)
    fits = isinstance(value, kind) and not (kind is int and (isinstance(value, bool) or value < 0))
    if not fits or (kind is int and value >= 1 << 63):
        raise MalformedError(f"{key}: {shown(value, 40)}")
    return value


class _File:
    """A capture file being read."""

    def __init__(self, source: Source, header: dict[str, Any], line_ends: list[int]) -> None:
        self.source = source
        self.header = header
        #: Where each blob's line begins, and behind them the end of the last.
        self.lines = [end + 1 for end in line_ends]
        self.faults: list[InputError] = []

    def capture(self) -> Capture:
        header = self.header
        if _get(header, "partial", (dict, type(None))) is not None:
            was = header["partial"]
            expected, found = _get(was, "expected", str, ""), _get(was, "found", str, "")
            offset = None if was.get("offset") is None else _get(was, "offset", int)
            self.faults.append(InputError(_get(was, "file", str, ""), expected, found, offset))
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
                raise MalformedError("host.cpuid: not rows of six numbers")
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
        attributes = checked_attributes(layout, _get(record, "attributes", dict, {}))
        if layout == "xsave":
            attributes["table"] = _table(_get(record, "xsave_table", dict))
        elif layout not in BY_CONTENT and layout not in layouts():
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
        if number >= len(self.lines) - 1:
            found = f"{len(self.lines) - 1} blobs"
            self.faults.append(InputError(self.source.name, f"blob {number}", found, self.lines[-1]))
            return b""
        at = self.lines[number]
        size = self.lines[number + 1] - 1 - at
        if size > 2 * AREA_LIMIT_BYTES:
            expected = f"blob {number} of at most {2 * AREA_LIMIT_BYTES} bytes"
            self.faults.append(InputError(self.source.name, expected, str(size), at))
            return b""
        try:
            data = base64.b64decode(self.source.read(at, size), validate=True)
        except binascii.Error as error:
            self.faults.append(InputError(self.source.name, "base64", str(error), at))
            return b""
        if hashlib.sha256(data).hexdigest() != sha256:
            expected = f"blob {number} with SHA-256 {sha256[:12]}..."
            self.faults.append(InputError(self.source.name, expected, "other bytes", at))
            return b"" if len(data) > AREA_LIMIT_BYTES else data
        return data


def _is_words(row: Any, count: int) -> bool:
    return isinstance(row, list) and len(row) == count and all(is_number(v, 32) for v in row)


def _table(record: dict[str, Any]) -> XsaveTable:
    rows = _get(record, "rooms", list)
    rooms: list[Room] = []
    seen: set[int] = set()
    for row in rows:
        if not isinstance(row, list) or len(row) != 4 or not all(is_number(v) for v in row[:3]):
            raise MalformedError("xsave_table: a room is not [component, size, offset, align]")
        component, size, offset, align = row
        if not (2 <= component < 63 and 0 <= size <= 1 << 16 and 0 <= offset <= 1 << 16):
            raise MalformedError("xsave_table: a room that no image can have")
        if component in seen:
            raise MalformedError(f"xsave_table: two rooms of component {component}")
        seen.add(component)
        rooms.append(Room(component, size, offset, bool(align)))
    return XsaveTable(tuple(rooms), _get(record, "origin", str), _get(record, "guessed", bool))
