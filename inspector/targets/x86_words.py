"""Words that are x86 guests by their look alone: nothing is opened, and no machine is loaded."""

from __future__ import annotations

from layouts.x86.models.qemu import qemu_models

MODEL = "model:"


def is_x86_guest_word(word: str) -> bool:
    """A word that can only be an x86 guest: a model of QEMU, or ``model:LINE:HOST`` of one."""
    line = word.removeprefix(MODEL).partition(":")[0]
    first = line.removeprefix("-cpu ").split(",")[0].partition("@")[0]
    return qemu_models().named(first) is not None or line.startswith("-cpu ")
