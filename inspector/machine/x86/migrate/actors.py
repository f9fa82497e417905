"""Those who may have decided a bit."""

from __future__ import annotations

from layouts.light import NamedTuple

SILICON, KERNEL, PARAMETER, LINUX = "silicon", "kernel", "module parameter", "Linux on the host"
EMULATOR = "the emulator"
VMM, CAPTURE, NOT_KNOWN, IDENTITY = "VMM", "what was captured", "nobody who is known", "the vCPU itself"


class Origin(NamedTuple):
    """Who decided: ``by`` is a kind of actor, ``text`` says it in words."""

    by: str
    text: str
