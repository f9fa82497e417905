"""``--kernel`` and ``@RELEASE``: the profile of a release, and what a user has to know of the choice."""

from __future__ import annotations

import os
from collections.abc import Callable

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.readers.options import Note
from layouts.coming import NEXT
from layouts.kernels import DEFAULT_RELEASE, Profile, UnknownReleaseError, release_numbers

HELP = (
    f"a release of Linux (default {DEFAULT_RELEASE}); one without a profile is answered by the newest older one; "
    "next tells what is not merged"
)


def kernel_named(profile_for: Callable[[str], Profile], release: str, note: Note) -> Profile:
    """The profile of a release that a user named, else of the default. Raises UsageError."""
    try:
        return told(profile_for(release or DEFAULT_RELEASE), note)
    except UnknownReleaseError as error:
        raise UsageError(f"kernel {error}") from None


def kernel_captured(profile_for: Callable[[str], Profile], capture: Capture, note: Note) -> Profile:
    """The profile of the release that a capture tells, else of the default. Raises InputError."""
    try:
        return told(profile_for(capture.host.kernel or DEFAULT_RELEASE), note)
    except UnknownReleaseError as error:
        expected = f"{error.expected} (--kernel names another)"
        raise InputError(f"{capture.target}: kernel", expected, error.release) from None


def told(kernel: Profile, note: Note) -> Profile:
    """The kernel; noted where it answers for a release that is not its own."""
    if kernel.note:
        note(kernel.note)
    return kernel


def split(text: str) -> tuple[str, str]:
    """A host's name and the release after its last ``@``, empty where there is none."""
    name, _, release = text.rpartition("@")
    is_release = name and (release == NEXT or release_numbers(release))
    return (name, release) if is_release and not os.path.exists(text) else (text, "")


def release_of(text: str, kernel: str) -> tuple[str, str]:
    """A host's name, and the release of ``@RELEASE`` or ``kernel``. Raises UsageError where the two differ."""
    name, release = split(text)
    if release and kernel and release != kernel:
        raise UsageError(f"{text}: --kernel {kernel} names another kernel")
    return name, release or kernel
