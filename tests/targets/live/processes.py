"""Processes for tests: what their threads do, and waiting until they do it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

#: clock_nanosleep, which Python's time.sleep calls (arch/x86/entry/syscalls/syscall_64.tbl; asm-generic/unistd.h).
_CLOCK_NANOSLEEP = {"x86_64": "230", "aarch64": "115"}


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until this holds. A machine that is busy takes its time; one that never gets there fails."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def states(pid: int) -> list[str]:
    """State and tracer of every thread: ``S0`` sleeps and is not traced."""
    found = [Path(f"/proc/{pid}/task/{one}/status").read_text() for one in os.listdir(f"/proc/{pid}/task")]
    return [f"{re.findall('State:.(.)', text)[0]}{re.findall('TracerPid:.(.*)', text)[0]}" for text in found]


def all_sleep(pid: int, threads: int) -> bool:
    """Every thread is in time.sleep, and nobody traces it: its registers stay as they are."""
    try:
        calls = [Path(f"/proc/{pid}/task/{one}/syscall").read_text() for one in os.listdir(f"/proc/{pid}/task")]
    except PermissionError:
        # Who may not trace does not see it either; what then wants to trace is skipped.
        calls = []
    number = _CLOCK_NANOSLEEP[os.uname().machine]
    return states(pid) == ["S0"] * threads and all(call.split()[0] == number for call in calls)
