"""What a VMM does with a call that KVM refuses while it restores a vCPU. The tables are each architecture's."""

from __future__ import annotations

from layouts.light import Literal, NamedTuple

#: What a VMM does with a call that KVM refuses: the migration ends (``abort``), or the guest goes on without what the
#: call would have set (``lost``), or it leaves out the refused MSR alone and sets the others (``skip``).
Does = Literal["abort", "lost", "skip"]


class OnRefusal(NamedTuple):
    """What a version of a VMM does with a refused call. ``calls``: these steps alone; empty for all others.

    ``read_in`` are the versions in whose source it was read for this table: so it is there for sure. That it was so
    from ``since`` on, nobody here read; where ``read_in`` is empty, versions on both sides were.
    """

    since: str
    does: Does
    text: str
    source: str
    calls: tuple[str, ...] = ()
    read_in: tuple[str, ...] = ()
