"""Which fields decide, and which differ between any two moments: what a reader of two states asks for first and last.

Paths are globs over field paths (``[`` and ``]`` are literal), case-insensitive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from layouts.light import lru_cache


class Volatile(NamedTuple):
    """Fields that differ between any two captures, and why."""

    paths: str
    why: str


_TIME = "time goes on"
_COUNTER = "counts while the vCPU runs"
_RANDOM = "a random address"
_IDENTITY = "names the process or thread, not its state"

VOLATILE = (
    Volatile("msr.IA32_TIME_STAMP_COUNTER", _TIME),
    Volatile("msr.IA32_TSC_DEADLINE", "an absolute time"),
    Volatile("msr.IA32_MPERF", _COUNTER),
    Volatile("msr.IA32_APERF", _COUNTER),
    Volatile("msr.MSR_SMI_COUNT", _COUNTER),
    Volatile("msr.IA32_PMC?", _COUNTER),
    Volatile("msr.IA32_A_PMC?", _COUNTER),
    Volatile("msr.IA32_FIXED_CTR?", _COUNTER),
    Volatile("msr.MSR_K7_PERFCTR*", _COUNTER),
    Volatile("msr.MSR_F15H_PERF_CTR*", _COUNTER),
    Volatile("msr.HV_X64_MSR_TIME_REF_COUNT", _TIME),
    Volatile("msr.HV_X64_MSR_VP_RUNTIME", _TIME),
    Volatile("lapic.timer_current", _TIME),
    Volatile("kvm_clock.*", _TIME),
    Volatile("*kvmclock*.clock", _TIME),
    Volatile("nested_state.hdr.preemption_timer_deadline", "an absolute time"),
    Volatile("sysreg.CNTVCT_EL0", _TIME),
    Volatile("sysreg.CNTPCT_EL0", _TIME),
    Volatile("sysreg.CNT?_CVAL_EL*", "an absolute time"),
    Volatile("sysreg.CNT?_TVAL_EL*", _TIME),
    Volatile("sysreg.PMCCNTR_EL0", _COUNTER),
    Volatile("sysreg.PMEVCNTR*_EL0", _COUNTER),
    Volatile("qemu.*.tmr.timer", _TIME),
    Volatile("qemu.*.tmr.overflow_time", "an absolute time"),
    Volatile("qemu.*timer*", _TIME),
    Volatile("qemu.*expire_time*", "an absolute time"),
    Volatile("prstatus.*time.*", "time that the thread has run"),
    Volatile("auxv.AT_SYSINFO_EHDR", _RANDOM),
    Volatile("auxv.AT_RANDOM", _RANDOM),
    Volatile("auxv.AT_EXECFN", _RANDOM),
    Volatile("auxv.AT_PLATFORM", _RANDOM),
    Volatile("prstatus.pid", _IDENTITY),
    Volatile("prstatus.ppid", _IDENTITY),
    Volatile("prstatus.pgrp", _IDENTITY),
    Volatile("prstatus.sid", _IDENTITY),
    Volatile("prpsinfo.pid", _IDENTITY),
    Volatile("prpsinfo.ppid", _IDENTITY),
    Volatile("prpsinfo.pgrp", _IDENTITY),
    Volatile("prpsinfo.sid", _IDENTITY),
)

#: What decides whether a state is taken, and what a guest sees; the most telling first.
DECISIVE = (
    ("xcr.*", "xsave.header.*", "sregs.cr0", "sregs.cr3", "sregs.cr4", "sregs.efer", "sregs.apic_base"),
    ("msr.IA32_XSS", "msr.IA32_XFD*", "msr.IA32_ARCH_CAPABILITIES", "msr.IA32_VMX_*", "msr.IA32_FEATURE_CONTROL"),
    ("id.*", "sve.vg", "sve.vl*", "sve.header.*", "za.header.*", "firmware.*"),
    ("cpuid.?*", "props.*"),
    ("vcpu_events.*", "mp_state.*"),
)


@lru_cache(maxsize=1 << 14)
def volatile(path: str) -> str:
    """Why a field differs between any two captures; empty when it does not."""
    found = _volatile_pattern().fullmatch(path)
    return VOLATILE[found.lastindex - 1].why if found is not None and found.lastindex else ""


@lru_cache(maxsize=1 << 14)
def rank(path: str) -> int:
    """Where a field stands among differences: 0 the most telling, what always differs last."""
    if volatile(path):
        return len(DECISIVE) + 1
    return next((at for at, pattern in enumerate(_decisive_patterns()) if pattern.fullmatch(path)), len(DECISIVE))


@lru_cache(maxsize=1)
def _volatile_pattern() -> re.Pattern[str]:
    return re.compile("|".join(f"({_expression(entry.paths)})" for entry in VOLATILE), re.IGNORECASE)


@lru_cache(maxsize=1)
def _decisive_patterns() -> Sequence[re.Pattern[str]]:
    return [re.compile("|".join(map(_expression, globs)), re.IGNORECASE) for globs in DECISIVE]


def _expression(glob: str) -> str:
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
