"""Answers of ``--kernel next``: the newest profile's, but what a series decides that is not merged is left open.

Source: :mod:`layouts.coming`.
"""

from __future__ import annotations

from inspector.machine.outcome import Outcome, Rule
from layouts.coming import Coming, series_of
from layouts.kernels import Kernel


def deciding(kernel: Kernel, arch: str, event: str) -> Coming | None:
    """The series that the answer to an event hangs on; None where the kernel is a release."""
    return series_of(arch, event) if kernel.coming else None


def is_for_want(series: Coming, refused: Outcome | str) -> bool:
    """A refusal, or the words of an event that cannot be, would be another with the series merged."""
    if isinstance(refused, str):
        return any(word in refused for word in series.words)
    return refused.verdict == "depends-on" or (not refused.accepted and refused.because.startswith(series.checks))


def open_answer(kernel: Kernel, series: Coming, refusal: Outcome | None) -> Outcome:
    """``depends-on``: what the newest release says, and which series would say otherwise.

    ``refusal`` is its answer; None: it has no such words.
    """
    rule = Rule(series.series, "proposal")
    rule.checks += refusal.checks if refusal is not None else ()
    said = refusal.name if refusal is not None else "no such thing"
    return rule.depends(f"{series.name}, not merged; Linux {kernel.name}: {said}")
