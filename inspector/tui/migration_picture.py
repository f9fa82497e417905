"""A migration as a screen shows it, of either architecture: calls in the VMM's order, bits by who decided, silence.

Toolkit-free. What makes one is in ``migration_x86.py`` and ``migration_arm64.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from inspector.machine.outcome import Check


class Part(NamedTuple):
    """One thing of a call that was refused: an MSR of KVM_SET_MSRS, a field of an ID register; and why."""

    name: str
    why: str


class CallRow(NamedTuple):
    """A call, or a comparison that the VMM makes before.

    ``answer`` is the errno, the count or ``ok``; ``held`` is None where the answer is not known. ``then`` is what the
    VMM does with a refusal, ``ends`` whether that ends the migration; ``history`` what older versions of it did.
    ``taken_by`` are kernels that would take the call there. ``said`` is the VMM's own message.
    """

    name: str
    answer: str
    held: bool | None
    checks: tuple[Check, ...] = ()
    source: str = ""
    parts: tuple[Part, ...] = ()
    then: str = ""
    ends: bool = False
    history: tuple[str, ...] = ()
    taken_by: tuple[str, ...] = ()
    said: str = ""


class BitRow(NamedTuple):
    """A bit or field in which guest and destination differ.

    ``rule`` says how two values go together, ``by`` who decided and ``origin`` says it in words. ``noticed`` is the
    evidence in the guest's state, or why there is none. ``remedies`` are by VMM, as tried; empty where none helps.
    """

    name: str
    where: str
    source: str
    target: str
    rule: str
    blocks: bool
    known: bool
    by: str
    origin: str
    noticed: str
    in_use: bool
    remedies: Mapping[str, str]


class LostRow(NamedTuple):
    """Something lost in silence: what, how the source names it, lint's code, who says so."""

    text: str
    source: str
    code: str = ""


class RemedyRow(NamedTuple):
    """Every remedy of the verdict at once: the words, and what came of asking again for the whole migration.

    ``arrives``: nothing is in the way any more; else ``still`` says what is. ``without`` counts what is turned off.
    """

    line: str
    arrives: bool
    still: tuple[str, ...]
    without: int


class Picture(NamedTuple):
    """The verdict on a move.

    ``who`` and ``where`` are its ends, ``vmm`` its VMM, ``verdict`` is one of ``arrives``, ``open``, ``lossy`` and
    ``refused``, ``because`` the sentence for it. ``untried`` are calls whose structure was not captured, ``hangs_on``
    what the answer hangs on, ``notes`` what is to know of both ends. ``noun`` is what ``bits`` are called, ``no_calls``
    why there is none.
    """

    who: str
    where: str
    kernel: str
    vmm: str
    verdict: str
    because: str
    calls: tuple[CallRow, ...]
    bits: tuple[BitRow, ...]
    lost: tuple[LostRow, ...]
    remedy: RemedyRow | None
    untried: tuple[str, ...] = ()
    hangs_on: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    noun: str = "bit"
    no_calls: str = ""

    @property
    def first_refused(self) -> CallRow | None:
        """The call that ends the migration; else the first that is refused."""
        ends = next((call for call in self.calls if call.ends), None)
        return ends or next((call for call in self.calls if call.held is False), None)
