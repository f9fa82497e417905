"""Rules of ``inspector lint``: what contradicts itself, what then happens, what to change. Data; the checks are code.

A code never changes its meaning. ``X`` is x86, ``A`` arm64; the first two digits are the group: 01 the XSAVE image,
02 control registers and segments, 03 MSRs, 04 CPUID, 05 events and APIC, 06 clocks, 07 what a VMM did not save;
of arm64 01 features, 02 vectors, 03 register lists, 04 several vCPUs, 05 counters and timers.
"""

from __future__ import annotations

from functools import cache
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


@cache
def lint_rules() -> dict[str, LintRule]:
    """Every rule by its code."""
    from layouts.lint import arm64, x86

    return {rule.code: rule for rule in (*x86.RULES, *arm64.RULES)}
