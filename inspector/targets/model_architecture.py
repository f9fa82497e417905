"""Which architecture the words of a command about models are of."""

from __future__ import annotations

import os
from collections.abc import Sequence

from inspector.capture.errors import InputError, UsageError
from inspector.readers.kubevirt_cpu import LABEL
from inspector.targets.files import member_of
from inspector.targets.kernels import split
from inspector.targets.schemes import capture_of
from layouts.arm64.chips import chips, known_cores
from layouts.arm64.named_models import model_named, named_models

ARM64, X86 = "arm64", "x86"
_HOST_WORDS = ("host", "max", "base")
_HEAD_BYTES = 1 << 20
_TEXTS = (b"<domainCapabilities", b"<capabilities", b'"props"', LABEL)


def architecture_of(model: str, hosts: Sequence[str]) -> str:
    """By the model's word where it is known or a file that tells, else by the first host that tells.

    arm64 where none does, empty without words.
    """
    path, _ = member_of(model)
    line = _first_line(path) if path else model
    bare = line.strip().removeprefix("-cpu ").strip().split(",", maxsplit=1)[0]
    if model and bare not in _HOST_WORDS:
        if model_named(bare, named_models()) is not None:
            return ARM64
        if _is_x86_model(model, path):
            return X86
        if not hosts:
            return ARM64
    if not (model or hosts):
        return ""
    return X86 if any(_is_x86_host(host) for host in hosts) else ARM64


def _first_line(path: str) -> str:
    """The line of a file that is one of QEMU's; empty for another."""
    text = _head(path).decode("utf-8", "replace")
    return text if text.startswith("-cpu ") else ""


def _is_x86_model(word: str, path: str) -> bool:
    from inspector.targets.x86_models import is_x86_file, is_x86_model

    if not path:
        return is_x86_model(word)
    try:
        return is_x86_file(_head(path).decode("utf-8", "replace"))
    except (InputError, UsageError):
        return False


def _is_x86_host(word: str) -> bool:
    name, _ = split(word)
    if name in known_cores() or name in chips():
        return False
    from inspector.readers.x86_cpuinfo import parse_x86_cpuinfo
    from inspector.targets.x86_offers import is_x86_word

    if is_x86_word(name):
        return True
    path, _ = member_of(name)
    if path:
        head = _head(path)
        if any(text in head for text in _TEXTS) and b'"sve' not in head:
            return True
        if parse_x86_cpuinfo(head.decode("utf-8", "replace")) is not None:
            return True
    if not (os.path.exists(name) or ":" in name) or ".jsonl" in name:
        return False
    try:
        capture = capture_of(name)
    except (InputError, UsageError):
        return False
    return capture.host.cpuid is not None or any(vcpu.arch.startswith("x86") for vcpu in capture.vcpus)


def _head(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
