"""What a scenario is: events as data."""

from __future__ import annotations

from typing import NamedTuple

from layouts.kernels import DEFAULT_RELEASE


class Logged(NamedTuple):
    """A line of a document's log: of which event (from 1), when, by which kernel, on which of its CPUs.

    ``stamp`` is the document's time in seconds, empty where it says that it happens but shows no line.
    ``text`` begins as the machine's line begins.
    """

    event: int
    stamp: str
    level: str
    cpu: int
    text: str


class Scenario(NamedTuple):
    """Events on a host, in order.

    ``host`` is a CPU, ``kernel`` a release of Linux, ``policy`` on x86 how KVM deals with dynamic components
    (``layouts.x86.kernels``), on arm64 SVE's interface (``layouts.arm64.scenarios``). ``destinations`` are further
    hosts, for events with ``host=1`` and so on: a CPU, or ``CPU@RELEASE`` for another kernel.
    ``because`` tells why it is this host and kernel, where a capture decided it. ``notes`` say where the source errs.
    An event is a line of words as ``inspector sim --help`` lists them. ``source`` tells where
    the problem was reported or which rule it shows; ``log`` is what a document says was printed.
    """

    name: str
    title: str
    events: tuple[str, ...]
    source: str
    host: str = "sapphire-rapids"
    kernel: str = DEFAULT_RELEASE
    policy: str = "upstream"
    log: tuple[Logged, ...] = ()
    because: str = ""
    notes: tuple[str, ...] = ()
    architecture: str = "x86"
    destinations: tuple[str, ...] = ()

    @property
    def hosts(self) -> str:
        """The hosts by name, the first one first."""
        return " → ".join((self.host, *self.destinations))
