"""What the user says about a target beside its name."""

from __future__ import annotations

from collections.abc import Callable

from inspector.capture.errors import UsageError
from layouts.light import NamedTuple

Progress = Callable[[str, int, int], None]
Note = Callable[[str], None]


def _silent(_line: str) -> None:
    """Nobody listens."""


class Options(NamedTuple):
    """``layout`` names a CPU layout (``--layout``), ``as_format`` a structure (``--as``).

    ``progress`` hears of long reads: what is being done, bytes done, bytes in all (0: unknown). ``note`` hears what
    a person should know of a choice: which profile answers for a kernel, what of a capture could not be read.
    """

    layout: str = ""
    as_format: str = ""
    progress: Progress | None = None
    note: Note = _silent


#: Nothing said, nobody listening.
NO_OPTIONS = Options()


def check_layout(name: str) -> None:
    """UsageError, with the names there are, when no CPU layout has this name."""
    if not name:
        return
    from layouts.x86.cpus import cpu_layouts

    if name not in cpu_layouts():
        from inspector.capture.nearest import did_you_mean

        hint = did_you_mean(name, cpu_layouts(), "inspector layouts list")
        raise UsageError(f"--layout {name}: no such CPU layout; {hint}")
