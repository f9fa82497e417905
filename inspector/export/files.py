"""The one way in which anything is written: whole or not at all, and never in place of something that is there."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import suppress

from inspector.capture.errors import OutputError
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

#: Of the 255 bytes that Linux gives a name, some stay free for what is put behind it.
_NAME_BYTES = 200
#: What open(2) says where the file system, or the kernel, has no O_TMPFILE.
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


def save_new(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is not there yet; ``-`` is standard output.

    The name appears when everything is written, and only if nothing has taken it: neither a full disk nor a kill
    leaves a cut file. Raises OutputError.
    """
    if path == "-":
        write(sys.stdout.buffer)
        return
    try:
        if os.path.lexists(path):
            raise FileExistsError
        _write_unnamed(path, write) if os.path.isdir("/proc/self/fd") else _write_beside(path, write)
    except FileExistsError:
        raise OutputError(f"{path}: already there") from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: {getattr(error, 'strerror', '') or error}") from error


def save_bytes(path: str, data: bytes) -> None:
    """The same for bytes that are there already."""
    save_new(path, lambda out: out.write(data))


def _write_unnamed(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file without a name, which the system drops if we end, then give it its name (open(2), O_TMPFILE)."""
    try:
        descriptor = os.open(_folder(path), os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in _NO_UNNAMED:
            raise
        _write_beside(path, write)
        return
    with os.fdopen(descriptor, "wb") as out:
        write(out)
        out.flush()
        # With a descriptor Python calls linkat(AT_SYMLINK_FOLLOW), which follows the link in /proc to the file.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def _write_beside(path: str, write: Callable[[BinaryIO], object]) -> None:
    """The same with a temporary name, for file systems that give every file a name."""
    beside = os.path.join(_folder(path), f".inspector-{os.urandom(8).hex()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as out:
            write(out)
        _give_name(beside, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside)


def _give_name(beside: str, path: str) -> None:
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (vfat, some FUSE): take the name with an empty file, then put ours in its place.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        os.replace(beside, path)


def _folder(path: str) -> str:
    return os.path.dirname(path) or os.curdir


def save_folder(folder: str, files: Mapping[str, bytes]) -> None:
    """Write files to a folder that is new, or there and empty: all of them or none. Raises OutputError."""
    folder = folder.rstrip("/") or folder
    is_there = os.path.isdir(folder)
    if os.path.lexists(folder) and not (is_there and not os.listdir(folder)):
        raise OutputError(f"{folder}: already there and not an empty folder")
    place = folder if is_there else os.path.join(_folder(folder), f".inspector-{os.urandom(8).hex()}")
    written: list[str] = []
    try:
        if not is_there:
            os.mkdir(place)
        for name, data in files.items():
            save_bytes(os.path.join(place, name), data)
            written.append(os.path.join(place, name))
        if not is_there:
            os.rename(place, folder)
    except BaseException as error:
        with suppress(OSError):
            for path in written:
                os.unlink(path)
            if not is_there:
                os.rmdir(place)
        if isinstance(error, OSError):
            raise OutputError(f"{folder}: {error.strerror}") from error
        if isinstance(error, OutputError) and not is_there:
            # What the user named, not where it was being made.
            raise OutputError(str(error).replace(place, folder, 1)) from error
        raise


def file_name(text: str, taken: Container[str] = ()) -> str:
    """A name for a file, made of what a capture says: the one place where that becomes safe.

    No separator, no control character, nothing that hides or starts an option, never empty, never too long (its end
    stays: that says what is in it), never one of those that are taken.
    """
    name = "".join(letter if letter.isprintable() and letter not in "/\\" else "-" for letter in text)
    name = _last_bytes(name, _NAME_BYTES).lstrip(".-") or "unnamed"
    stem, dot, suffix = name.partition(".")
    count = 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}{dot}{suffix}"
    return name


def _last_bytes(text: str, size: int) -> str:
    return text.encode()[-size:].decode(errors="ignore")
