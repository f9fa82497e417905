"""Bytes to read from: a file, standard input, either of them compressed.

Reads are by offset and never more than was asked for, so the size of a file does not
matter. What is compressed or a pipe is unpacked as far as it is asked for, into memory and
behind 64 MiB into a temporary file, up to a limit. The input is only ever read.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import weakref
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from inspector.capture.errors import InputError

CHUNK_SIZE_BYTES = 1 << 18
IN_MEMORY_SIZE_BYTES = 64 << 20
UNPACKED_LIMIT_BYTES = 16 << 30

_KINDS = (
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)


class Source:
    """Bytes with a name. ``size`` is None while the end has not been seen.

    ``fault`` is set when the bytes turned out to be cut or corrupt; what came before it can
    still be read.
    """

    name: str
    size: int | None
    fault: InputError | None = None
    #: Hears of long reads: what is being done, bytes done, bytes in all (0: unknown).
    progress: Callable[[str, int, int], None] | None = None

    def tell(self, what: str, done: int, total: int) -> None:
        """Say how far a long read is."""
        if self.progress is not None:
            self.progress(what, done, total)

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``offset``; fewer at the end."""
        raise NotImplementedError

    def read_exactly(self, offset: int, size: int, what: str) -> bytes:
        """``size`` bytes at ``offset``, or InputError naming ``what`` they should have been."""
        data = self.read(offset, size)
        if len(data) < size:
            found = f"{len(data)} bytes before the end of the file"
            raise self.fault or InputError(self.name, f"{what} ({size} bytes)", found, offset)
        return data

    def read_all(self, limit_bytes: int) -> bytes:
        """All bytes, if they are not more than ``limit_bytes``; else InputError."""
        data = self.read(0, limit_bytes + 1)
        if len(data) > limit_bytes:
            raise InputError(self.name, f"at most {limit_bytes} bytes", "more")
        return data

    def close(self) -> None:
        """Give the file back."""


class FileSource(Source):
    """A regular file."""

    def __init__(self, path: str, descriptor: int, size: int) -> None:
        self.name = path
        self.size: int = size
        self._descriptor = descriptor
        # The vCPUs of a core read it as long as they live; it closes with the last of them.
        self._close = weakref.finalize(self, os.close, descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read."""
        if offset < 0 or offset >= self.size:
            return b""
        try:
            return os.pread(self._descriptor, min(size, self.size - offset), offset)
        except OSError as error:
            raise InputError(self.name, "readable bytes", str(error.strerror), offset) from error

    def close(self) -> None:
        """See Source.close."""
        self._close()


class StreamSource(Source):
    """Bytes that come one after another: a pipe, or what is unpacked on the way."""

    def __init__(self, name: str, chunks: Iterator[bytes]) -> None:
        import tempfile

        self.name = name
        self.size: int | None = None
        self._chunks = chunks
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_SIZE_BYTES)  # noqa: SIM115 - closed in close()
        self._have = 0

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read."""
        self._fill(offset + size)
        self._spool.seek(offset)
        return self._spool.read(max(0, min(size, self._have - offset)))

    def _fill(self, until: int) -> None:
        while self._have < until and self.size is None:
            if self._have > UNPACKED_LIMIT_BYTES:
                expected = f"at most {UNPACKED_LIMIT_BYTES >> 30} GiB unpacked"
                raise InputError(self.name, expected, "more", self._have)
            try:
                chunk = next(self._chunks, b"")
            except InputError as error:
                self.fault = error
                chunk = b""
            if not chunk:
                self.size = self._have
                return
            self._spool.seek(self._have)
            self._spool.write(chunk)
            self._have += len(chunk)

    def close(self) -> None:
        """See Source.close."""
        self._spool.close()


class PartSource(Source):
    """A source from some offset on."""

    def __init__(self, source: Source, base: int) -> None:
        self.name = source.name
        self.progress = source.progress
        self._source = source
        self._base = base

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """See Source."""
        whole = self._source.size
        return None if whole is None else max(0, whole - self._base)

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read."""
        return self._source.read(self._base + offset, size)


def unpacked(source: Source) -> Source:
    """The source itself, or what it unpacks to."""
    packed = _UNPACKERS.get(_packing(source.read(0, 6)))
    if packed is None:
        return source
    result = StreamSource(source.name, _unpack(source, packed))
    result.progress = source.progress
    return result


def open_source(target: str, progress: Callable[[str, int, int], None] | None = None, name: str = "") -> Source:
    """Open a path, or ``-`` for standard input; unpack gzip, xz and zstd on the way.

    ``name`` is what the source is called, if not by its path.
    Raises InputError for what cannot be opened, is empty, or is no file.
    """
    source = StreamSource("-", _standard_input()) if target == "-" else _open_path(target)
    source.name = name or source.name
    source.progress = progress
    return unpacked(source)


def _standard_input() -> Iterator[bytes]:
    if sys.stdin is None:
        raise InputError("-", "standard input", "a closed one")
    return _descriptor_chunks(os.dup(sys.stdin.fileno()))


def _open_path(path: str) -> Source:
    try:
        mode = os.stat(path).st_mode
        for is_kind, name in _KINDS:
            if is_kind(mode):
                raise InputError(path, "a file", name)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise InputError(path, "a readable file", _os_error(error)) from error
    if stat.S_ISFIFO(mode):
        return StreamSource(path, _descriptor_chunks(descriptor))
    size = os.fstat(descriptor).st_size
    if size == 0:
        os.close(descriptor)
        raise InputError(path, "a capture", "an empty file")
    return FileSource(path, descriptor, size)


def _os_error(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    words = {errno.ENOENT: "no such file", errno.EACCES: "permission denied"}
    return words.get(error.errno or 0, error.strerror or str(error))


def _descriptor_chunks(descriptor: int) -> Iterator[bytes]:
    try:
        while chunk := os.read(descriptor, CHUNK_SIZE_BYTES):
            yield chunk
    finally:
        os.close(descriptor)


def _packing(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd") else ""


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(memlimit=256 << 20)


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor()


_UNPACKERS: dict[str, Callable[[], Any]] = {"gzip": _gzip, "xz": _xz, "zstd": _zstd}


def _unpack(source: Source, make: Callable[[], Any]) -> Iterator[bytes]:
    """Unpack all members of a compressed file, each chunk bounded."""
    unpacker = make()
    at = 0
    pending = b""
    while True:
        if not pending and (unpacker.eof or getattr(unpacker, "needs_input", True)):
            pending = source.read(at, CHUNK_SIZE_BYTES)
            at += len(pending)
            source.tell("unpacking", at, source.size or 0)
            if not pending:
                if not unpacker.eof:
                    raise InputError(source.name, "more compressed data", "the end of the file", at)
                return
        if unpacker.eof:
            if not pending.strip(b"\0"):
                continue
            unpacker = make()
        try:
            out = unpacker.decompress(pending, CHUNK_SIZE_BYTES)
        except Exception as error:
            raise InputError(source.name, "sound compressed data", str(error), at - len(pending)) from error
        pending = _rest(unpacker)
        if out:
            yield out


def _rest(unpacker: Any) -> bytes:
    """Input that the unpacker has not taken: its own rest, or what is behind its end."""
    if unpacker.eof:
        return bytes(unpacker.unused_data)
    return bytes(getattr(unpacker, "unconsumed_tail", b""))
