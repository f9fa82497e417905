"""Unpacking of gzip, xz, bzip2 and zstd: all members of a file, each step bounded.

Zero bytes behind a member are padding (xz: file format 1.1.0, 2.2, in multiples of four; gzip: blocks of
a tape, as gzip(1) passes them over). Anything else behind the last member is not read, and told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator

from inspector.capture.errors import InputError
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

CHUNK_SIZE_BYTES = 1 << 18
#: Input for a new member: what is behind its end is copied, so a member begins with little.
_FIRST_STEP_BYTES = 1 << 12
#: More zero bytes than this are no padding (a tape's block is at most 1 MiB or so).
_PADDING_LIMIT_BYTES = 16 << 20


class Packing(NamedTuple):
    """A packed format: its first bytes, those of members that may follow, a new unpacker.

    ``padding_unit_bytes`` is what the number of zero bytes behind a member divides by (0: none are allowed).
    """

    magic: bytes | tuple[bytes, ...]
    more: tuple[bytes, ...]
    make: Callable[[], Any]
    padding_unit_bytes: int


def _gzip() -> Any:
    import zlib

    return zlib.decompressobj(wbits=31)


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(memlimit=256 << 20)


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor()


#: Skippable frames of zstd (RFC 8878, 3.1.2) may follow, such as the index of the seekable format.
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))

#: "BZh" and the size of its blocks.
_BZIP2 = tuple(b"BZh%d" % size for size in range(1, 10))

PACKINGS = (
    Packing(b"\x1f\x8b", (b"\x1f\x8b",), _gzip, 1),
    Packing(b"\xfd7zXZ\0", (b"\xfd7zX",), _xz, 4),
    # Streams of bzip2 may follow each other; bzip2(1) passes over what is behind them, and we say so.
    Packing(_BZIP2, _BZIP2, _bzip2, 0),
    Packing(b"\x28\xb5\x2f\xfd", (b"\x28\xb5\x2f\xfd", *_ZSTD_SKIPPABLE), _zstd, 0),
)


def packing_of(head: bytes) -> Packing | None:
    """The packed format that begins so, if any."""
    return next((packing for packing in PACKINGS if head.startswith(packing.magic)), None)


class Unpacking:
    """The unpacked bytes of ``read`` in chunks; ``notice`` tells of bytes behind the end.

    ``read(offset, size)`` gives packed bytes. Raises InputError, named after ``file``, for
    packed bytes that are damaged or cut.
    """

    def __init__(
        self, file: str, packing: Packing, read: Callable[[int, int], bytes], tell: Callable[[int], None]
    ) -> None:
        self.file = file
        self.notice = ""
        self._packing = packing
        self._read = read
        self._tell = tell

    def __iter__(self) -> Iterator[bytes]:
        """All members, one after the other."""
        at = 0
        while True:
            at = yield from self._member(at)
            following = self._behind_padding(at)
            if following is None:
                return
            at = following

    def _member(self, at: int) -> Generator[bytes, None, int]:
        """One member; gives back the offset behind it."""
        unpacker = self._packing.make()
        step = _FIRST_STEP_BYTES
        pending = b""
        while not unpacker.eof:
            if not pending and getattr(unpacker, "needs_input", True):
                pending = self._read(at, step)
                at += len(pending)
                self._tell(at)
                if not pending:
                    raise InputError(self.file, "more compressed data", "the end of the file", at)
                step = min(2 * step, CHUNK_SIZE_BYTES)
            try:
                out = unpacker.decompress(pending, CHUNK_SIZE_BYTES)
            except Exception as error:
                raise InputError(self.file, "sound compressed data", str(error), at - len(pending)) from error
            # zlib gives back what it has not taken; lzma and zstd keep it and ask with needs_input.
            pending = b"" if unpacker.eof else bytes(getattr(unpacker, "unconsumed_tail", b""))
            if out:
                yield out
        return at - len(unpacker.unused_data)

    def _behind_padding(self, end: int) -> int | None:
        """Where the next member begins; None at the end of the file, or at bytes that are no member."""
        at, head, step = end, b"", _FIRST_STEP_BYTES
        while at - end <= _PADDING_LIMIT_BYTES and (head := self._read(at, step)):
            rest = head.lstrip(b"\0")
            at += len(head) - len(rest)
            step = min(2 * step, CHUNK_SIZE_BYTES)
            if rest:
                break
        unit, zeros = self._packing.padding_unit_bytes, at - end
        padded = zeros % unit == 0 if unit else zeros == 0
        if padded and self._read(at, 4).startswith(self._packing.more):
            return at
        if not padded or head:
            at = end if not padded else at
            self.notice = f"offset {at:#x}: the bytes behind the compressed data are not read"
        return None
