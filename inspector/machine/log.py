"""What kernels did while an event happened: lines of their log, and the instructions of guests."""

from __future__ import annotations

from layouts.light import NamedTuple


class Line(NamedTuple):
    """One thing done: by which kernel (``host`` or ``guest``), on which of its CPUs, for whom.

    ``calls`` are the function that does it and its callers, the way into the kernel last
    (``layouts.x86.call_chains``).
    """

    level: str
    cpu: int
    task: str
    text: str
    calls: tuple[str, ...] = ()


class Executed(NamedTuple):
    """An instruction of a guest: on which vCPU, whether it left the guest for KVM, after how many lines of the log."""

    vcpu: int
    exited: bool
    lines_before: int
