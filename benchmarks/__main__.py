"""Measure what docs/performance.md promises. Ratios count; absolute times depend on the machine."""

from __future__ import annotations

import os
import pty
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import construct

from benchmarks.machine import report
from inspector.decode.fields import FieldTable
from inspector.decode.image import read_image
from inspector.readers.open import open_capture
from layouts.x86.xsave import BY_NUMBER, HEADER, LEGACY

ROOT = Path(__file__).parents[1]
CORE = ROOT / "samples/amx/process.core"
EMPTY_APP = "from textual.app import App\nApp().run()"


def process_ms(command: list[str], runs: int = 11) -> float:
    """Median wall time of a whole process."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def first_frame_ms(command: list[str], mark: bytes, runs: int = 9) -> float:
    """Median time from exec until a mark is on a pseudo-terminal."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        child, descriptor = pty.fork()
        if child == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
            os.execv(command[0], command)
        seen = b""
        while mark not in seen:
            seen += os.read(descriptor, 1 << 16)
        times.append(1000 * (time.perf_counter() - start))
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(descriptor)
    return statistics.median(times)


def call_us(function: Callable[[], object], number: int = 2000) -> float:
    """Median of seven rounds, a call."""
    function()
    return 1e6 * statistics.median(timeit.repeat(function, number=number, repeat=7)) / number


def row(what: str, ours: float, theirs: float, unit: str, goal: str) -> None:
    print(f"{what:<58} {ours:>9.1f} {theirs:>9.1f} {unit}  ratio {ours / theirs:5.2f}  ({goal})")


def image_parsers() -> tuple[construct.Construct, construct.Construct]:
    """construct's own parser of the same image at the same depth, interpreted and compiled."""
    area = open_capture(str(ROOT / "samples/amx/vcpu-permitted.kvm_xsave2.bin")).vcpus[0].areas[0]
    table = area.attributes["table"]
    members = ["legacy" / LEGACY.construct, "header" / HEADER.construct]
    at = 576
    for room in sorted((r for r in table.rooms if r.offset), key=lambda r: r.offset):
        if room.offset > at:
            members.append(construct.Padding(room.offset - at))
        component = BY_NUMBER[room.component]
        members.append(component.name / component.construct)
        at = room.offset + room.size_bytes
    declaration = construct.Struct(*members)
    return declaration, declaration.compile()


def thousand_threads(folder: str) -> str:
    """A core of 1,000 threads with 11,008-byte images: 11.9 MB of notes."""
    sys.path.insert(0, str(ROOT))
    from tests.readers.test_elf_core import thread
    from tests.support import core64

    path = os.path.join(folder, "core")
    Path(path).write_bytes(core64(b"".join(thread(pid) for pid in range(1000))))
    return path


def scan_notes(path: str) -> int:
    """The least work: step over the notes of a file in memory."""
    data = Path(path).read_bytes()
    (offset, size) = struct.unpack_from("<Q16xQ", data, 64 + 8)
    at, count = offset, 0
    while at < offset + size:
        name, length, _ = struct.unpack_from("<III", data, at)
        at += 12 + -(-name // 4) * 4 + -(-length // 4) * 4
        count += 1
    return count


def main() -> None:
    python = sys.executable
    print(f"{'':<58} {'ours':>9} {'theirs':>9}")
    show = process_ms([python, "-m", "inspector", "show", str(CORE), "--json"])
    if shutil.which("gdb"):
        gdb = ["gdb", "-batch", "-ex", f"core-file {CORE}", "-ex", "info all-registers"]
        row("show --json of one core / gdb info all-registers", show, process_ms(gdb), "ms", "at most 3, aim 1")
    row("  / bare python", show, process_ms([python, "-c", "pass"]), "ms", "-")
    row(
        "--help / bare python",
        process_ms([python, "-m", "inspector", "--help"]),
        process_ms([python, "-c", "pass"]),
        "ms",
        "-",
    )
    frame = first_frame_ms([python, "-m", "inspector", "open", str(CORE)], b"inspector")
    empty = first_frame_ms([python, "-c", EMPTY_APP], b"\x1b[?1049h")
    empty_footer = first_frame_ms(
        [
            python,
            "-c",
            "from textual.app import App\nfrom textual.widgets import Static\n"
            "class A(App):\n def compose(self): yield Static('Search')\nA().run()",
        ],
        b"Search",
    )
    row("first frame of open / empty Textual app with one word", frame, empty_footer, "ms", "at most 2, aim 1.3")
    row("  / alternate screen of an empty Textual app", frame, empty, "ms", "-")
    area = open_capture(str(ROOT / "samples/amx/vcpu-permitted.kvm_xsave2.bin")).vcpus[0].areas[0]
    interpreted, compiled = image_parsers()
    ours = call_us(lambda: read_image(area))
    row(
        "an 11,008-byte image / construct compiled", ours, call_us(lambda: compiled.parse(area.data)), "us", "at most 1"
    )
    row("  / construct interpreted", ours, call_us(lambda: interpreted.parse(area.data), 300), "us", "-")
    row(
        "all fields with texts / construct interpreted",
        call_us(lambda: list(FieldTable(area)), 100),
        call_us(lambda: interpreted.parse(area.data), 300),
        "us",
        "-",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = thousand_threads(folder)
        opened = call_us(lambda: open_capture(path), 10)
        row(
            "index of 1,000 threads / bare scan of the notes",
            opened / 1000,
            call_us(lambda: scan_notes(path), 10) / 1000,
            "ms",
            "the time of its notes",
        )
        listed = process_ms([python, "-m", "inspector", "show", path, "--list"], 5)
        if shutil.which("gdb"):
            gdb = ["gdb", "-batch", "-ex", f"core-file {path}", "-ex", "info threads"]
            row("show --list of 1,000 threads / gdb info threads", listed, process_ms(gdb, 5), "ms", "-")
        if shutil.which("readelf"):
            row("  / readelf -n", listed, process_ms(["readelf", "-nW", path], 5), "ms", "-")
    report()


main()
