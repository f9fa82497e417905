"""How long something takes: processor time, the least of several, both sides of a ratio in turn."""

from __future__ import annotations

import os
import pty
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

BARE = (sys.executable, "-c", "pass")


def _environment() -> dict[str, str]:
    """As users have it: modules are compiled once and kept."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def process_ms(command: Sequence[str]) -> float:
    """Processor time of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, env=_environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def peak_mb(command: Sequence[str]) -> float:
    """The most memory that a process had, of those bytes that were its own or of files."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL,"
        " stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    return float(subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=True).stdout)


def call_us(function: Callable[[], object], number: int) -> float:
    """Processor time of one call of many."""
    start = time.process_time()
    for _ in range(number):
        function()
    return 1e6 * (time.process_time() - start) / number


def first_frame_ms(command: Sequence[str], mark: bytes) -> float:
    """Time from exec until a mark is on a pseudo-terminal."""
    start = time.perf_counter()
    child, descriptor = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.execv(command[0], command)
    seen = b""
    while mark not in seen:
        seen += os.read(descriptor, 1 << 16)
    taken = 1000 * (time.perf_counter() - start)
    os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(descriptor)
    return taken


def least(sides: Sequence[Callable[[], float]], rounds: int) -> list[float]:
    """The least of each side, which take turns: what else the machine does meets all of them."""
    found = [[side() for side in sides] for _ in range(rounds)]
    return [min(times) for times in zip(*found, strict=True)]
