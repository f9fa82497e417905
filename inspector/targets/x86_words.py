"""Words that are x86 guests: by their look alone nothing is opened, and no machine is loaded; a file's text tells."""

from __future__ import annotations

import os

from layouts.x86.models.qemu import qemu_models

MODEL = "model:"


def is_x86_guest_word(word: str) -> bool:
    """A word that can only be an x86 guest: a model of QEMU, or ``model:LINE:HOST`` of one."""
    line, _, host = word.removeprefix(MODEL).partition(":")
    if word.startswith(MODEL) and os.path.isfile(line):
        from inspector.targets.model_architecture import X86, architecture_of

        return architecture_of(line, [host] if host else []) == X86
    first = line.removeprefix("-cpu ").split(",")[0].partition("@")[0]
    return qemu_models().named(first) is not None or line.startswith("-cpu ")
