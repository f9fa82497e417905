"""What a key sends to the terminal, and when the last byte of it is there; when the first fields are.

    python -m benchmarks.terminal [TARGET]

Times are of this machine, for comparison in one run; bytes are the same everywhere.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import statistics
import struct
import sys
import termios
import time
from typing import NamedTuple

TARGET = "sample:amx/process.core"
COLUMNS, LINES = 160, 45
_QUIET_SECONDS = 0.3


class Screen(NamedTuple):
    """A screen to measure: how it is opened, what is on it when it is there, which keys go on and back."""

    name: str
    words: tuple[str, ...]
    mark: bytes
    ahead: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("j",)


SCREENS = (
    Screen("Inspect, j", ("open", TARGET), b"mxcsr"),
    Screen("Inspect, G g", ("open", TARGET), b"mxcsr", keys=("G", "g")),
    Screen("Inspect, page down", ("open", TARGET), b"mxcsr", keys=("\x1b[6~", "\x1b[5~")),
    Screen("Inspect, next vCPU", ("open", "sample:zen5-threads/xcore.core.gz"), b"xsave", keys=("]", "[")),
    Screen("Inspect, / Esc", ("open", TARGET), b"mxcsr", keys=("/", "\x1b")),
    Screen("Compare, j", ("open", "sample:zen5-kvm"), b"mxcsr", ("c",)),
    Screen("XSTATE lab, k j", ("open", "sim:guest-xfd"), b"xtiledata", keys=("k", "j")),
    Screen("XSTATE lab, n u", ("open", "sim:guest-xfd"), b"xtiledata", keys=("n", "u")),
    Screen("XSTATE lab, Space x", ("open", "sim:guest-xfd"), b"xtiledata", ("n",) * 4, (" ", "x")),
    Screen("XSTATE lab, w W Esc", ("open", "sim:guest-xfd"), b"xtiledata", ("n",), ("w", "W", "\x1b", "u", "n")),
    Screen("ID lab, j", ("open", "model:neoverse-v1-v1:neoverse-n2"), b"feat_"),
    Screen("arm64 lab, n u", ("open", "sim:arm64-life-cycle"), b"PAuth", keys=("n", "u")),
    Screen("arm64 lab, Space v", ("open", "sim:arm64-life-cycle"), b"PAuth", ("n",), (" ", "v")),
    Screen("arm64 lab, w W Esc", ("open", "sim:arm64-life-cycle"), b"PAuth", ("n",) * 4, ("w", "W", "\x1b", "u", "n")),
    Screen("Timeline, k j", ("open", "sim:guest-xfd"), b"xtiledata", ("n", "n", "n", "T"), ("k", "j")),
    Screen("Migration, j", ("open", "sample:zen5-kvm", "--to", "milan@6.1"), b"KVM_SET_CPUID2"),
    Screen("Calls, j", ("open", "sample:logs/refused-cpuid.strace.txt"), b"KVM_CREATE_VM"),
    Screen("Findings, j", ("open", "sample:zen5-kvm"), b"mxcsr", ("!",)),
)


class Key(NamedTuple):
    """What one key did."""

    size_bytes: int
    last_byte_ms: float


class Program:
    """The program in a pseudo-terminal."""

    def __init__(self, command: list[str]) -> None:
        self.start = time.perf_counter()
        self.child, self.descriptor = pty.fork()
        if self.child == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(command[0], command)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))

    def until_quiet(self) -> Key:
        """Read until nothing comes for a while."""
        begin = last = time.perf_counter()
        size_bytes = 0
        while True:
            ready, _, _ = select.select([self.descriptor], [], [], _QUIET_SECONDS)
            if not ready:
                return Key(size_bytes, 1000 * (last - begin))
            size_bytes += len(os.read(self.descriptor, 1 << 16))
            last = time.perf_counter()

    def until(self, mark: bytes) -> float:
        """Read until the mark is there; milliseconds from the start."""
        seen = b""
        while mark not in seen:
            seen += os.read(self.descriptor, 1 << 16)
        return 1000 * (time.perf_counter() - self.start)

    def press(self, key: str) -> Key:
        """One key, and all that comes of it."""
        os.write(self.descriptor, key.encode())
        return self.until_quiet()

    def end(self) -> None:
        """Kill it."""
        os.kill(self.child, 9)
        os.waitpid(self.child, 0)
        os.close(self.descriptor)


def measured(screen: Screen, presses: int = 24) -> tuple[float, list[Key]]:
    """When the screen's mark came, and what its keys did."""
    program = Program([sys.executable, "-m", "inspector", *screen.words])
    first_ms = program.until(screen.mark)
    program.until_quiet()
    for key in screen.ahead:
        program.press(key)
    keys = [program.press(screen.keys[number % len(screen.keys)]) for number in range(presses)]
    program.end()
    return first_ms, keys


def main() -> None:
    """Print a line a screen."""
    print(f"{'':<24} {'first ms':>9} {'KB median':>10} {'KB max':>8} {'ms median':>10} {'ms p95':>8}")
    wanted = sys.argv[1:]
    for screen in SCREENS:
        if wanted and not any(word in screen.name for word in wanted):
            continue
        first_ms, keys = measured(screen)
        sizes = [key.size_bytes / 1024 for key in keys]
        times = sorted(key.last_byte_ms for key in keys)
        print(
            f"{screen.name:<24} {first_ms:>9.0f} {statistics.median(sizes):>10.1f} {max(sizes):>8.1f} "
            f"{statistics.median(times):>10.0f} {times[int(0.95 * (len(times) - 1))]:>8.0f}"
        )


if __name__ == "__main__":
    main()
