"""kdump-compressed dumps (makedumpfile, QEMU dump-guest-memory -z): the notes only.

Raw files have a disk header and a sub header that says where the notes are; flattened ones
(as makedumpfile -F and QEMU write to a pipe) are records of (offset, size, data).
Source: makedumpfile ``diskdump_mod.h`` and QEMU ``include/system/dump.h``.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right

from inspector.capture.errors import InputError
from inspector.capture.model import Capture
from inspector.readers.budget import Budget
from inspector.readers.elf_core import arm32_refusal, read_notes
from inspector.readers.elf_notes import Segment
from inspector.readers.options import Options
from inspector.readers.source import Source
from layouts.files.elf import ARM32_PRSTATUS_SIZE_BYTES, NT_PRSTATUS

MAGIC = b"KDUMP   "
FLATTENED_MAGIC = b"makedumpfile\0\0\0\0"

_FLATTENED_HEADER_SIZE_BYTES = 4096
_STATUS_OFFSET = 0x1A8
_STATUS_OFFSET_32 = 0x19C
_COMPRESSION = {1: "zlib", 2: "lzo", 4: "snappy", 32: "zstd"}
_MAX_BLOCK_SIZE_BYTES = 1 << 20


#: Headers and notes are in the first few records.
_MAX_RECORDS = 1 << 16


class FlattenedSource(Source):
    """A flattened file as the raw file that it describes. Records are found as they are needed.

    Where records overlap, the later one holds: makedumpfile writes its headers twice.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.size: int | None = None
        self._source = source
        self._budget = Budget(source.name, "flattened records", records=_MAX_RECORDS)
        #: Starts in order, and for each (start, end, offset in the file); they do not overlap.
        self._starts: list[int] = []
        self._records: list[tuple[int, int, int]] = []
        self._at = _FLATTENED_HEADER_SIZE_BYTES
        self._done = False

    @property
    def notices(self) -> tuple[str, ...]:  # type: ignore[override]
        """See Source."""
        return self._source.notices

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read; stops at the first byte that no record has."""
        pieces: list[bytes] = []
        while size > 0 and (piece := self._piece(offset, size)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _piece(self, offset: int, size: int) -> bytes:
        while True:
            nth = bisect_right(self._starts, offset) - 1
            if nth >= 0:
                start, end, at = self._records[nth]
                if offset < end:
                    return self._source.read(at + offset - start, min(size, end - offset))
            if self._done or not self._next():
                return b""

    def _next(self) -> bool:
        """Index one more record; the last one has offset and size -1."""
        head = self._source.read(self._at, 16)
        if len(head) < 16:
            self._done = True
            self.fault = InputError(self.name, "a flattened record", "the end of the file", self._at)
            return False
        start, length = struct.unpack(">qq", head)
        if start < 0 or length < 0 or (self._source.size is not None and self._at + 16 > self._source.size):
            self._done = True
            return False
        try:
            self._budget.take(self._at)
        except InputError as error:
            self._done = True
            self.fault = error
            return False
        self._keep(start, start + length, self._at + 16)
        self._at += 16 + length
        return True

    def _keep(self, start: int, end: int, at: int) -> None:
        """Keep a record, and of those it overlaps what is before and behind it."""
        if start == end:
            return
        first = bisect_right(self._starts, start)
        if first and self._records[first - 1][1] > start:
            first -= 1
        last = bisect_left(self._starts, end)
        kept = [(start, end, at)]
        if first < last:
            before, behind = self._records[first], self._records[last - 1]
            if before[0] < start:
                kept.insert(0, (before[0], start, before[2]))
            if behind[1] > end:
                kept.append((end, behind[1], behind[2] + end - behind[0]))
        self._records[first:last] = kept
        self._starts[first:last] = [record[0] for record in kept]


def read(source: Source, options: Options) -> Capture:
    """A kdump file, raw or flattened, as a capture of the guest's CPUs."""
    flattened = source.read(0, 16) == FLATTENED_MAGIC
    raw: Source = FlattenedSource(source) if flattened else source
    header = raw.read_exactly(0, _STATUS_OFFSET + 16, "a kdump header")
    if not header.startswith(MAGIC):
        raise raw.fault or InputError(source.name, "a kdump header", header[:8].hex(), 0)
    _refuse_32_bit(raw, header)
    version = int.from_bytes(header[8:12], "little")
    status, block_size = struct.unpack_from("<iI", header, _STATUS_OFFSET)
    if not 512 <= block_size <= _MAX_BLOCK_SIZE_BYTES:
        raise InputError(source.name, "a block size of 512 to 1 MiB", str(block_size), _STATUS_OFFSET + 4)
    sub = raw.read_exactly(block_size, 64, "a kdump sub header")
    note_offset, note_size = struct.unpack_from("<QQ", sub, 48)
    if not note_size:
        raise InputError(source.name, "ELF notes (sub header version 4 or newer)", "none", block_size + 48)
    compression = _COMPRESSION.get(status & 0x27, "no")
    about = f"kdump version {version}{', flattened' if flattened else ''}, {compression} compression"
    return read_notes(raw, options, Segment(note_offset, note_size), "kdump", about)


def _refuse_32_bit(raw: Source, header: bytes) -> None:
    """32-bit Arm guests have shorter headers (QEMU's DiskDumpHeader32, KdumpSubHeader32): these lead to the note."""
    (block_size,) = struct.unpack_from("<I", header, _STATUS_OFFSET_32 + 4)
    sub = raw.read(block_size, 44) if 512 <= block_size <= _MAX_BLOCK_SIZE_BYTES else b""
    if len(sub) < 44:
        return
    (offset,) = struct.unpack_from("<Q", sub, 32)
    first = struct.pack("<III", 5, ARM32_PRSTATUS_SIZE_BYTES, NT_PRSTATUS) + b"CORE"
    if offset < 2 * _MAX_BLOCK_SIZE_BYTES and raw.read(offset, 16) == first:
        raise arm32_refusal(raw, block_size)
