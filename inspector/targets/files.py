"""Paths and standard input; and words without a scheme, which as a host are also names of known CPUs."""

from __future__ import annotations

import os

from inspector.capture.model import Capture
from inspector.readers.open import open_capture
from inspector.readers.options import Options
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def capture_of_file(target: str, options: Options) -> Capture:
    """A file, a folder or ``-``. Raises InputError and UsageError, as ``open_capture``."""
    return open_capture(target, options)


def host_of_word(target: str, architecture: str, kernel: str, options: Options) -> Any:
    """A known CPU, or what a file says of a host. Raises UsageError and InputError."""
    if architecture == "x86":
        from inspector.targets.x86_named import host_of_word as x86_host

        return x86_host(target, kernel, options)
    from inspector.targets.arm64_named import host_of_word as arm64_host

    return arm64_host(target, kernel, options)


def member_of(word: str) -> tuple[str, str]:
    """A path, and which of several things in it: ``PATH`` or ``PATH:NAME``; both empty for a word that is no file."""
    if os.path.isfile(word):
        return word, ""
    path, colon, name = word.partition(":")
    return (path, name) if colon and os.path.isfile(path) else ("", "")
