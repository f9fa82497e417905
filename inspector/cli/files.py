"""Files that commands write."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from inspector.capture.errors import UsageError


def save_new(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is not there yet. Raises UsageError."""
    _save(path, "xb", write)


def save(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, in place of one that is there. Raises UsageError."""
    _save(path, "wb", write)


def _save(path: str, mode: str, write: Callable[[BinaryIO], object]) -> None:
    try:
        with open(path, mode) as out:
            write(out)  # type: ignore[arg-type]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
