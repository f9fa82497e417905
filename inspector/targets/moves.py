"""A vCPU that is to move, by words: which vCPU, where to, and how its VMM restores it there.

What an architecture makes of it is in ``x86_move.py`` and ``arm64_move.py``, which are imported when they are asked:
a word of one architecture loads no machine of the other.
"""

from __future__ import annotations

import os

from inspector.capture.model import Capture
from inspector.readers.options import Options
from inspector.targets.schemes import capture_of, scheme_of
from layouts.light import NamedTuple


class Move(NamedTuple):
    """What a user says of a move. ``source`` and ``destination`` are words; empty words are defaults.

    ``kernel`` is the destination's, where ``@RELEASE`` after its word does not say it. ``model`` is the destination's
    ``-cpu`` line or ``<cpu>``, of machine type ``machine`` (x86). ``abi`` is SVE's interface, ``imp_ids`` the
    capability KVM_CAP_ARM_WRITABLE_IMP_ID_REGS (arm64).
    """

    source: str
    destination: str
    kernel: str = ""
    vmm: str = ""
    model: str = ""
    machine: str = ""
    abi: str = "merged"
    imp_ids: bool = False

    @property
    def is_x86(self) -> bool:
        """Something was said that only x86 vCPUs have."""
        return bool(self.vmm or self.model or self.machine)


class Mover(NamedTuple):
    """The source of a move: its architecture, and its capture where it is one."""

    architecture: str
    capture: Capture | None = None


def mover_of(word: str, options: Options) -> Mover:
    """What a source's word is. Raises UsageError, and InputError for a file that cannot be read."""
    if word.startswith("model:") or not (scheme_of(word).prefix or os.path.lexists(word)):
        from inspector.targets.x86_words import is_x86_guest_word

        return Mover("x86" if is_x86_guest_word(word) else "arm64")
    capture = capture_of(word, options)
    return Mover("x86" if capture.vcpus and capture.vcpus[0].arch == "x86" else "arm64", capture)
