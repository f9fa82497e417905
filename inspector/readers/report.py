"""A report (docs/report.md) as the captures that are in it.

The page carries each capture file, packed with gzip and in base64, as a block of data behind what people read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from inspector.capture import store
from inspector.capture.errors import InputError
from inspector.capture.host import Host
from inspector.capture.model import Capture, Vcpu
from inspector.readers import vcpu_file
from inspector.readers.budget import Budget
from inspector.readers.options import Options
from inspector.readers.source import Source, StreamSource, unpacked
from inspector.readers.text import shown

#: Version of the report. A reader refuses files of a later version.
VERSION = 1
#: How a report begins.
MAGIC = f"<!DOCTYPE html><!-- inspector report {VERSION} -->"
BLOCK_BEGIN = b'<script type="application/vnd.inspector.vcpu+gzip">'
BLOCK_END = b"</script>"

#: A page and its captures.
MAX_SIZE_BYTES = 128 << 20
_MAX_CAPTURES = 16


def read(source: Source, options: Options) -> Capture:
    """The capture of a report; the vCPUs of several one after the other. Raises InputError.

    A block that is damaged is a fault; the others are read.
    """
    data = source.read_all(MAX_SIZE_BYTES)
    _check_version(source.name, data)
    found: list[Capture] = []
    faults: list[InputError] = [source.fault] if source.fault else []
    budget = Budget(source.name, "captures", records=_MAX_CAPTURES, size_bytes=vcpu_file.MAX_SIZE_BYTES)
    at = data.find(BLOCK_BEGIN)
    while at >= 0:
        begin = at + len(BLOCK_BEGIN)
        end = data.find(BLOCK_END, begin)
        try:
            if end < 0:
                raise InputError(source.name, "the end of the capture inside", "the end of the file", len(data))
            budget.take(at)
            found.append(_capture(source.name, data[begin:end], begin, budget, options))
        except InputError as error:
            faults.append(error)
        at = data.find(BLOCK_BEGIN, end) if end >= 0 and len(faults) <= _MAX_CAPTURES else -1
    if not found:
        raise faults[0] if faults else InputError(source.name, "a capture inside the report", "none")
    return _joined(source.name, found, faults)


def _check_version(name: str, data: bytes) -> None:
    word = data[: len(MAGIC) + 16].partition(b"report ")[2].partition(b" ")[0]
    if word != str(VERSION).encode():
        raise InputError(name, f"a report of version {VERSION}", shown(word.decode("latin-1"), 20), 0)


def _capture(name: str, text: bytes, at: int, budget: Budget, options: Options) -> Capture:
    """The capture file in a block at ``at``. Raises InputError."""
    try:
        packed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InputError(name, "base64", str(error), at) from error
    inner = unpacked(StreamSource(name, iter((packed,))))
    try:
        magic = f'{{"{store.MAGIC_KEY}":'.encode()
        head = inner.read(0, len(magic))
        if head != magic:
            raise inner.fault or InputError(
                name, "a capture file inside the report", head[:8].hex(" ") or "nothing", at
            )
        capture = vcpu_file.read(inner, options)
        budget.take(at, 0, inner.size or 0)
    finally:
        inner.close()
    return capture


def _joined(name: str, captures: Sequence[Capture], faults: Sequence[InputError]) -> Capture:
    """One capture of all: vCPUs are numbered anew, and say whose they are."""
    if len(captures) == 1:
        capture = captures[0]
        capture.faults += faults
        return capture
    vcpus = [
        Vcpu(0, f"{number}: {vcpu.name or vcpu.index}", vcpu.arch, vcpu.areas)
        for number, capture in enumerate(captures, 1)
        for vcpu in capture.vcpus
    ]
    for index, vcpu in enumerate(vcpus):
        vcpu.index = index
    hosts = {capture.host.kernel: capture.host for capture in captures}
    notices = [f"the report holds {len(captures)} captures: the names of their vCPUs begin 1:, 2: and so on"]
    return Capture(
        name,
        " + ".join(dict.fromkeys(capture.format for capture in captures)),
        vcpus,
        host=captures[0].host if len(hosts) == 1 else Host(),
        context=[area for capture in captures for area in capture.context],
        faults=[fault for capture in captures for fault in capture.faults] + list(faults),
        notices=notices + [notice for capture in captures for notice in capture.notices],
    )
