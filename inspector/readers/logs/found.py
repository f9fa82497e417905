"""What a part of a log gives: a log may have several, each by its own lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from inspector.capture.calls import Call
from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid
from inspector.capture.model import Area, Origin
from inspector.readers.synthesized import Masked, masked_cpuid_area

#: No more vCPUs, dumps, features or messages of one kind are kept: a log repeats itself.
MOST = 4096
_WIDE = 0xFFFF_FFFF
_REGISTERS = ("eax", "ebx", "ecx", "edx")
#: The prefix of what is known of a host.
HOST = "host"
#: A bit of CPUID: leaf, sub-leaf, register, bit.
CpuidBit = tuple[int, int, str, int]


class Line(NamedTuple):
    """A line of the log, without its end, and its offset in bytes."""

    offset: int
    text: str


class State(NamedTuple):
    """State of one CPU in the log."""

    name: str
    arch: str
    areas: Sequence[Area]


class Found(NamedTuple):
    """What a part of a log tells: CPUs, areas of the whole host, calls, and what is to be said about them."""

    states: Sequence[State] = ()
    context: Sequence[Area] = ()
    calls: Sequence[Call] = ()
    notices: Sequence[str] = ()
    faults: Sequence[InputError] = ()
    cpuid: Cpuid | None = None

    @property
    def is_empty(self) -> bool:
        """The lines had the mark, and nothing that could be read."""
        return not (self.states or self.context or self.calls)


def bits_area(bits: Mapping[CpuidBit, int], title: str, file: str) -> Area | None:
    """Bits of the host's CPUID of which a log tells; every other bit of these leaves is unknown."""
    leaves: dict[tuple[int, int], dict[str, Masked]] = {}
    for (leaf, subleaf, register, bit), value in bits.items():
        row = leaves.setdefault((leaf, subleaf), dict.fromkeys(_REGISTERS, (0, _WIDE)))
        known, unknown = row[register]
        row[register] = (known | value << bit, unknown & ~(1 << bit))
    if not leaves:
        return None
    table = {key: [leaves[key][register] for register in _REGISTERS] for key in sorted(leaves)}
    return masked_cpuid_area(table, Origin(file, 0), title, HOST)
