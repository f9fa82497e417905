"""Minidumps of Windows, Breakpad and Crashpad: each thread's context on AMD64 and ARM64, with its XSTATE.

A context with XSTATE has a CONTEXT_EX behind it, which tells where the header of the XSAVE area and what follows it
are; the legacy region is in the context. Together they are an XSAVE image. Its XSTATE_BV has no bits for the legacy
region on Windows, where a flag of the context says that it is there.

Source: see layouts/files/minidump.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from inspector.capture.attributes import Room, XsaveTable
from inspector.capture.errors import InputError
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.named_values import Sized, named_area
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.synthesized import xsave_from
from layouts.files import minidump as layout

_MOST_STREAMS = 4096
_MOST_THREADS = 65_536
_MOST_CONTEXT_BYTES = 1 << 18
_LEGACY_BITS = 3
_HEADER_SIZE_BYTES = 64
_BV_AT = layout.LEGACY_SIZE_BYTES


class Dump(NamedTuple):
    """The file, what its threads are, and where components are, if it says so."""

    source: Source
    arch: int
    table: XsaveTable | None
    options: Options
    notices: list[str]


def read(source: Source, options: Options) -> Capture:
    """One vCPU a thread; the one that crashed says so. Raises InputError when there is none."""
    streams = _streams(source)
    arch = _architecture(source, streams)
    dump = Dump(source, arch, _table(source, streams), options, [])
    faults: list[InputError] = []
    vcpus: list[Vcpu] = []
    for thread, context in _threads(source, streams, faults):
        try:
            areas = areas_of_context(dump, *context)
        except InputError as error:
            faults.append(error)
            continue
        vcpus.append(Vcpu(len(vcpus), thread, "x86" if arch == layout.AMD64 else "arm64", areas))
    if not vcpus:
        raise source.fault or (faults or [InputError(source.name, "a thread's context", "none")])[0]
    faults[:0] = [source.fault] if source.fault else []
    return Capture(source.name, "minidump", vcpus, faults=faults[:64], notices=list(dict.fromkeys(dump.notices))[:8])


def _streams(source: Source) -> dict[int, tuple[int, int]]:
    """Stream type -> offset, size."""
    head = source.read_exactly(0, layout.HEADER_SIZE_BYTES, "the header of a minidump")
    _, _, count, at = struct.unpack_from(layout.HEADER, head)
    if count > _MOST_STREAMS:
        raise InputError(source.name, f"at most {_MOST_STREAMS} streams", f"{count}", 8)
    directory = source.read_exactly(at, count * layout.DIRECTORY_SIZE_BYTES, "the directory of streams")
    return {kind: (offset, size) for kind, size, offset in reversed(list(struct.iter_unpack("<III", directory)))}


def _architecture(source: Source, streams: Mapping[int, tuple[int, int]]) -> int:
    at, _ = streams.get(layout.SYSTEM_INFO, (0, 0))
    if not at:
        raise InputError(source.name, "a stream of system information, which names the architecture", "none")
    arch = int.from_bytes(source.read_exactly(at, 2, "the architecture"), "little")
    if arch not in (layout.AMD64, layout.ARM64, layout.BREAKPAD_ARM64):
        found = layout.OTHERS.get(arch, f"architecture {arch}")
        raise InputError(source.name, "a minidump of AMD64 or ARM64", f"one of {found}", at)
    return arch


def _threads(
    source: Source, streams: Mapping[int, tuple[int, int]], faults: list[InputError]
) -> Iterable[tuple[str, tuple[int, int]]]:
    """Name, and offset and size of the context, of each thread. The exception's context is the crashed thread's own."""
    crashed, own = _exception(source, streams)
    at, size = streams.get(layout.THREAD_LIST, (0, 0))
    count = int.from_bytes(source.read_exactly(at, 4, "the number of threads"), "little") if at else 0
    if count > _MOST_THREADS:
        faults.append(InputError(source.name, f"at most {_MOST_THREADS} threads", f"{count}", at))
        count = _MOST_THREADS
    # Some writers align the list to 8 bytes behind its count.
    start = at + (8 if size == 8 + count * layout.THREAD_SIZE_BYTES else 4)
    seen = False
    for number in range(count):
        row = source.read(start + number * layout.THREAD_SIZE_BYTES, layout.THREAD_SIZE_BYTES)
        if len(row) < layout.THREAD_SIZE_BYTES:
            found = f"{number} before the end of the file"
            faults.append(InputError(source.name, f"{count} threads", found, start))
            break
        thread, *_, context_size, context_at = struct.unpack(layout.THREAD, row)
        if thread == crashed and own[1]:
            seen = True
            yield f"thread {thread}, the exception's", own
        else:
            yield f"thread {thread}", (context_at, context_size)
    if own[1] and not seen:
        yield f"thread {crashed}, the exception's", own


def _exception(source: Source, streams: Mapping[int, tuple[int, int]]) -> tuple[int, tuple[int, int]]:
    at, _ = streams.get(layout.EXCEPTION, (0, 0))
    if not at:
        return -1, (0, 0)
    data = source.read_exactly(at, 168, "the exception")
    size, offset = struct.unpack_from("<II", data, 160)
    return int.from_bytes(data[:4], "little"), (offset, size)


def areas_of_context(dump: Dump, at: int, size: int) -> list[Area]:
    """The areas of a context. Raises InputError for one that is too short or of another kind."""
    data = dump.source.read_exactly(at, min(size, _MOST_CONTEXT_BYTES), "a thread's context")
    if dump.arch != layout.AMD64:
        return [named_area(_arm64(dump, data, at), dump.source.name, "context")]
    if len(data) < layout.AMD64_SIZE_BYTES:
        raise InputError(dump.source.name, f"a context of {layout.AMD64_SIZE_BYTES} bytes", f"{len(data)}", at)
    flags = _number(data, layout.AMD64_FLAGS_AT, 4)
    values = _of_groups(data, flags, layout.AMD64_FIELDS)
    areas = [named_area(values, dump.source.name, "context")] if values else []
    image = _image(dump, data, flags, at)
    if image:
        area, notices = xsave_from(image, Origin(dump.source.name, at), dump.table, dump.options)
        dump.notices.extend(notices if len(image) > _BV_AT + _HEADER_SIZE_BYTES else ())
        areas.append(area)
    return areas


def _arm64(dump: Dump, data: bytes, at: int) -> dict[str, Sized]:
    if len(data) == layout.BREAKPAD_ARM64_SIZE_BYTES:
        return {path: (_number(data, offset, size), size) for path, offset, size in layout.BREAKPAD_ARM64_FIELDS}
    if len(data) < layout.ARM64_SIZE_BYTES:
        raise InputError(dump.source.name, f"a context of {layout.ARM64_SIZE_BYTES} bytes", f"{len(data)}", at)
    return _of_groups(data, _number(data, 0, 4), layout.ARM64_FIELDS)


def _of_groups(data: bytes, flags: int, groups: Mapping[int, Iterable[tuple[str, int, int]]]) -> dict[str, Sized]:
    """The fields of the groups that the context's flags name: others hold nothing."""
    return {
        path: (_number(data, offset, size), size)
        for flag, fields in groups.items()
        if flags & flag
        for path, offset, size in fields
    }


def _number(data: bytes | bytearray, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _image(dump: Dump, data: bytes, flags: int, at: int) -> bytes:
    """Legacy region, header and components; nothing where the context has neither."""
    extended = _extended(dump, data, at) if flags & layout.AMD64_XSTATE == layout.AMD64_XSTATE else b""
    if not flags & layout.AMD64_FLOATING and not extended:
        return b""
    legacy = data[layout.AMD64_LEGACY_AT : layout.AMD64_LEGACY_AT + layout.LEGACY_SIZE_BYTES]
    image = bytearray(legacy + (extended or bytes(_HEADER_SIZE_BYTES)))
    if flags & layout.AMD64_FLOATING:
        bv = _number(image, _BV_AT, 8) | _LEGACY_BITS
        image[_BV_AT : _BV_AT + 8] = bv.to_bytes(8, "little")
    return bytes(image)


def _extended(dump: Dump, data: bytes, at: int) -> bytes:
    """The header of the XSAVE area and what follows it, where CONTEXT_EX says. Raises InputError."""
    start = layout.AMD64_SIZE_BYTES
    if len(data) < start + layout.CONTEXT_EX_SIZE_BYTES:
        dump.notices.append("a context says that it has XSTATE, and the file does not hold it")
        return b""
    *_, offset, length = struct.unpack_from(layout.CONTEXT_EX, data, start)
    begin = start + offset
    if begin < 0 or length < _HEADER_SIZE_BYTES or begin + length > len(data):
        found = f"{length} bytes at {offset} from CONTEXT_EX in a context of {len(data)} bytes"
        raise InputError(dump.source.name, "XSTATE inside of the context", found, at + start)
    return data[begin : begin + length]


def _table(source: Source, streams: Mapping[int, tuple[int, int]]) -> XsaveTable | None:
    """Where Windows has each component, from MiscInfo: offsets count from the start of an XSAVE area."""
    at, size = streams.get(layout.MISC_INFO, (0, 0))
    head, each = struct.calcsize(layout.XSTATE_CONFIG), 8
    need = head + layout.XSTATE_FEATURES * each
    if size < layout.XSTATE_CONFIG_AT + need:
        return None
    data = source.read(at + layout.XSTATE_CONFIG_AT, need)
    if len(data) < need:
        return None
    _, _, enabled = struct.unpack_from(layout.XSTATE_CONFIG, data)
    rooms = []
    for number in range(2, layout.XSTATE_FEATURES):
        offset, length = struct.unpack_from("<II", data, head + number * each)
        if enabled >> number & 1 and length and offset + length <= _MOST_CONTEXT_BYTES:
            rooms.append(Room(number, length, offset, align64=False))
    return XsaveTable(tuple(rooms), "the dump's XSTATE configuration") if rooms else None
