"""Hosts by name, completed while one types: CPUs, chips, models, samples, kernels, files."""

from __future__ import annotations

import os

from inspector.targets.samples import SCHEME, names, x86_chips
from layouts.light import cache

#: The host that the program runs on.
_KVM = "kvm:"


@cache
def host_names(architecture: str) -> tuple[str, ...]:
    """The words that are a host of an architecture by name, those that people say first."""
    samples = tuple(f"{SCHEME}{name}" for name in names())
    if architecture == "arm64":
        from layouts.arm64.chips import chips, known_cores

        return (*chips(), *known_cores(), _KVM, *samples)
    from layouts.x86.models.qemu import TCG, VERSIONS, qemu_models

    models = qemu_models()
    emulators = (TCG, *(f"{TCG}:{version}" for version in VERSIONS))
    return (*x86_chips(), *models.aliases, *models.models, *emulators, _KVM, *samples)


@cache
def kernel_names(architecture: str) -> tuple[str, ...]:
    """The releases whose KVM is known, the newest first."""
    if architecture == "arm64":
        from layouts.arm64 import kernels as arm64

        return tuple(reversed(arm64.kernels()))
    from layouts.x86 import kernels as x86

    return tuple(reversed(x86.kernels()))


def completed(text: str, architecture: str) -> list[str]:
    """What a host's word that is being typed can become: whole words, ``NAME@RELEASE``, files of a folder."""
    name, at, release = text.rpartition("@")
    if at and name:
        return [f"{name}@{one}" for one in kernel_names(architecture) if one.startswith(release)]
    if "/" in text and not text.startswith(SCHEME):
        return files_of(text)
    wanted = text.lower()
    return list(dict.fromkeys(word for word in host_names(architecture) if word.lower().startswith(wanted)))


def files_of(text: str) -> list[str]:
    """The paths that the beginning of one can become."""
    folder, part = os.path.split(text)
    try:
        found = sorted(name for name in os.listdir(os.path.expanduser(folder) or ".") if name.startswith(part))
    except OSError:
        return []
    paths = [os.path.join(folder, name) for name in found]
    return [f"{path}/" if os.path.isdir(os.path.expanduser(path)) else path for path in paths]
