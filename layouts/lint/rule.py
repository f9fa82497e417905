"""What a rule of ``inspector lint`` is."""

from __future__ import annotations

from typing import NamedTuple

SEVERITIES = ("error", "warning", "note")


class LintRule(NamedTuple):
    """A rule.

    ``severity`` is ``error`` where a resume fails or the guest breaks, ``warning`` where state is lost or depends on
    the destination, ``note`` where a reader may be misled. ``about`` says what is wrong, ``happens`` what the kernel
    or the CPU does with it, ``remedy`` what to change. ``vmms`` limits it to captures that such a VMM restores.
    """

    code: str
    severity: str
    title: str
    about: str
    happens: str
    remedy: str
    source: str
    vmms: tuple[str, ...] = ()
