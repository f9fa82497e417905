"""Bytes to read from: a file, standard input, either of them compressed.

Reads are by offset and never more than was asked for, so the size of a file does not
matter. What is compressed or a pipe is unpacked as far as it is asked for, into memory and
behind 64 MiB into a temporary file, up to a limit. The input is only ever read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from inspector.capture.errors import InputError
from inspector.readers.doors import open_path, standard_input
from inspector.readers.unpack import Unpacking, packing_of
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

IN_MEMORY_SIZE_BYTES = 64 << 20
UNPACKED_LIMIT_BYTES = 16 << 30


class Source:
    """Bytes with a name. ``size`` is None while the end has not been seen.

    ``fault`` is set when the bytes turned out to be cut or corrupt; what came before it can
    still be read. ``notices`` tell what was passed over.
    """

    name: str
    size: int | None
    fault: InputError | None = None
    notices: tuple[str, ...] = ()
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

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read."""
        if offset < 0 or offset >= self.size:
            return b""
        try:
            return os.pread(self._descriptor, min(size, self.size - offset), offset)
        except OSError as error:
            raise InputError(self.name, "readable bytes", str(error.strerror), offset) from error

    def close(self, close: Callable[[int], None] = os.close) -> None:
        """See Source.close. ``close`` is there when the module os is gone already, at the program's end."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close(descriptor)

    # The vCPUs of a core read it as long as they live; it closes with the last of them.
    __del__ = close


class BytesSource(Source):
    """Bytes that are there already, and are of no file: what a kernel or a machine answered."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.size: int = len(data)
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read."""
        return self._data[offset : offset + size] if offset >= 0 else b""


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
        if not 0 <= offset < self._have:
            return b""
        self._spool.seek(offset)
        return self._spool.read(max(0, min(size, self._have - offset)))

    def _fill(self, until: int) -> None:
        while self._have < until and self.size is None:
            try:
                chunk = next(self._chunks, b"")
                self._keep(chunk)
            except InputError as error:
                self.fault = error
                chunk = b""
            if not chunk:
                self.size = self._have
                return

    def _keep(self, chunk: bytes) -> None:
        """Append to what is there; InputError when there is no room for it."""
        if self._have + len(chunk) > UNPACKED_LIMIT_BYTES:
            expected = f"at most {UNPACKED_LIMIT_BYTES >> 30} GiB unpacked"
            raise InputError(self.name, expected, "more", self._have)
        try:
            self._spool.seek(self._have)
            self._spool.write(chunk)
        except OSError as error:
            expected = f"room for what is unpacked in the temporary folder ({_temporary_folder()})"
            raise InputError(self.name, expected, error.strerror or str(error), self._have) from error
        self._have += len(chunk)

    def close(self) -> None:
        """See Source.close."""
        self._spool.close()


class UnpackedSource(StreamSource):
    """What another source unpacks to."""

    def __init__(self, source: Source, unpacking: Unpacking) -> None:
        super().__init__(source.name, iter(unpacking))
        self.progress = source.progress
        self._source = source
        self._unpacking = unpacking

    @property
    def notices(self) -> tuple[str, ...]:  # type: ignore[override]
        """See Source."""
        own = (self._unpacking.notice,) if self._unpacking.notice else ()
        return (*self._source.notices, *own)

    def close(self) -> None:
        """See Source.close."""
        super().close()
        self._source.close()


def _temporary_folder() -> str:
    import tempfile

    return tempfile.gettempdir()


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

    @property
    def fault(self) -> InputError | None:  # type: ignore[override]
        """See Source."""
        return self._source.fault

    @property
    def notices(self) -> tuple[str, ...]:  # type: ignore[override]
        """See Source."""
        return self._source.notices

    def read(self, offset: int, size: int) -> bytes:
        """See Source.read."""
        return self._source.read(self._base + offset, size)


def unpacked(source: Source) -> Source:
    """The source itself, or what it unpacks to."""
    packing = packing_of(source.read(0, 6))
    if packing is None:
        return source

    def tell(at: int) -> None:
        source.tell("unpacking", at, source.size or 0)

    return UnpackedSource(source, Unpacking(source.name, packing, source.read, tell))


def open_source(target: str, progress: Callable[[str, int, int], None] | None = None, name: str = "") -> Source:
    """Open a path, or ``-`` for standard input; unpack gzip, xz, zstd and bzip2 on the way.

    ``name`` is what the source is called, if not by its path.
    Raises InputError for what cannot be opened, is empty, or is no file.
    """
    opened = standard_input() if target == "-" else open_path(target)
    name = name or target
    source: Source
    if opened.size_bytes is None:
        source = StreamSource(name, opened.chunks(name))
    else:
        source = FileSource(name, opened.descriptor, opened.size_bytes)
    source.progress = progress
    return unpacked(source)
