"""What sensibly comes after an event that did not go well, as data: an entry of ``next_steps`` of an architecture.

Steps are events as ``inspector sim --help`` lists them; ``undo`` takes the last event back, ``first EVENT`` lets it
happen before all others, ``place WORDS`` goes to another host, kernel or policy. In braces: ``again`` the event itself,
what the patterns call by name (of ``release`` the first kernel that is known from there on), and what the architecture
knows of the vCPU.
"""

from __future__ import annotations

from typing import NamedTuple


class NextStep(NamedTuple):
    """After which answer, to what event, for which failed check (regular expressions); what to do, and why.

    ``with_cpuid``: components that the vCPU's CPUID must have, on x86.
    """

    answer: str
    event: str
    because: str
    steps: tuple[str, ...]
    text: str
    source: str
    with_cpuid: int = 0
