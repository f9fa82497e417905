"""x86 CPUs by a word: a model of QEMU, a part of its name as people say it, or a file with the CPU's own CPUID."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError, UsageError
from inspector.capture.host import Cpuid
from inspector.capture.nearest import did_you_mean
from inspector.machine.x86.models.cpuid import cpuid_of_model
from layouts.x86.models.qemu import CpuModel, qemu_models


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isascii() and letter.isalnum())


def model_named(text: str) -> CpuModel | None:
    """``EPYC-Milan-v2`` and QEMU's aliases; ``milan``, ``cascadelake`` are the version with the most features."""
    known = qemu_models()
    found = known.named(text)
    if found is not None or os.path.exists(text):
        return found
    wanted = _plain(text)
    same = [
        one
        for one in known.models.values()
        if wanted and wanted in (_plain(one.family_name), *(_plain(word) for word in _short(one.family_name)))
    ]
    families = {one.family_name for one in same}
    return max(same, key=lambda one: (len(one.features), one.version)) if len(families) == 1 else None


def _short(name: str) -> tuple[str, ...]:
    return (name.removeprefix("EPYC-"), name.removesuffix("-Server"))


def no_such_cpu(text: str, *others: str) -> UsageError:
    """For a word that is no CPU: what it may have been meant to be, models, families as people say them, ``others``."""
    known = qemu_models()
    said = {_short(one.family_name)[0].lower() for one in known.models.values()}
    every = (*sorted(said), *known.models, *known.aliases, *others)
    return UsageError(f"{text}: no such CPU or file; {did_you_mean(text, every, 'inspector models list')}")


def cpu_named(text: str) -> tuple[str, Cpuid]:
    """A CPU's name and its own CPUID. Raises UsageError, InputError for a capture without one."""
    model = model_named(text)
    if model is not None:
        return model.name, cpuid_of_model(model.name)
    if not (os.path.exists(text) or ":" in text):
        raise no_such_cpu(text)
    from inspector.targets.schemes import capture_of

    cpuid = capture_of(text).host.cpuid
    if cpuid is None:
        raise InputError(text, "the CPU's own CPUID", "none")
    return text, cpuid
