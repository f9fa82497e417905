"""What is measured, against what, and what is promised."""

from __future__ import annotations

import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import construct

from benchmarks.measure import BARE, call_us, first_frame_ms, peak_mb, process_ms
from inspector.decode.fields import FieldTable
from inspector.decode.image import read_image
from inspector.readers.open import open_capture
from layouts.x86.xsave import BY_NUMBER, HEADER, LEGACY

ROOT = Path(__file__).parents[1]
CORE = str(ROOT / "samples/amx/process.core")
IMAGE = str(ROOT / "samples/amx/vcpu-permitted.kvm_xsave2.bin")
ONE_WORD = (
    "from textual.app import App\nfrom textual.widgets import Static\n"
    "class A(App):\n def compose(self): yield Static('Search')\nA().run()"
)

_ONE_WORD = "a Textual app with one word"
#: What people open first, and a field that is on its first screen.
OPENED = (
    ("x86 core", CORE, b"mxcsr"),
    ("arm64 core", "sample:arm64-process/sve-default.core", b"sigpend"),
    ("folder of KVM structures", "sample:amx", b"mxcsr"),
    ("QEMU stream", "sample:qemu-x86-max/migration-stream.gz", b"rbx"),
)


class Case(NamedTuple):
    """A measurement: ours against theirs (None: against nothing), ``most`` is what is promised of the ratio.

    Without theirs ``most`` is of the number itself. ``is_cheap``: the tests run it too.
    """

    name: str
    against: str
    ours: Callable[[], float]
    theirs: Callable[[], float] | None
    unit: str
    most: float
    is_cheap: bool = False


def inspector(*words: str) -> Callable[[], float]:
    """Processor time of a command."""
    return partial(process_ms, (str(Path(sys.executable).with_name("inspector")), *words))


def starts() -> Iterator[Case]:
    """Commands against a Python that does nothing: the cheap half."""
    bare = partial(process_ms, BARE)
    field = ("--field", "xsave.header.xstate_bv")
    fc = ("--vmm", "firecracker")
    for name, words, most, is_cheap in (
        ("`--help`", ("--help",), 1.8, True),
        ("`show --json` of one field of a core", ("show", CORE, *field, "--json"), 2.5, True),
        ("`show` of one field of a core", ("show", CORE, *field), 2.5, False),
        ("`show --json` of a core", ("show", CORE, "--json"), 3.0, True),
        ("`show --list` of a core", ("show", CORE, "--list"), 2.5, False),
        ("`show` of one field of a raw image", ("show", IMAGE, *field), 3.5, False),
        ("`models check`", ("models", "check", "neoverse-v1-v1", "--host", "neoverse-n1@6.12"), 4.0, False),
        ("`migrate`, arm64", ("migrate", "sample:graviton3/linux-6.18", "neoverse-n1"), 4.5, False),
        ("`migrate`, x86", ("migrate", "sample:sapphire-rapids/linux-6.18", "sapphire-rapids@6.1", *fc), 5.5, False),
    ):
        yield Case(name, "`python -c pass`", inspector(*words), bare, "ms", most, is_cheap)


def peers() -> Iterator[Case]:
    """Against other programs, where they are installed."""
    if shutil.which("gdb"):
        gdb = ("gdb", "-batch", "-ex", f"core-file {CORE}", "-ex", "info all-registers")
        theirs = partial(process_ms, gdb)
        yield Case(
            "`show --json` of a core", "gdb `info all-registers`", inspector("show", CORE, "--json"), theirs, "ms", 1
        )
    theirs = partial(first_frame_ms, (sys.executable, "-c", ONE_WORD), b"Search")
    for what, target, mark in OPENED:
        opened = (sys.executable, "-m", "inspector", "open", target)
        frame = partial(first_frame_ms, opened, mark)
        yield Case(f"first frame of `open` with fields: {what}", _ONE_WORD, frame, theirs, "ms wall", 1.5)


def images() -> Iterator[Case]:
    """One XSAVE image of 11,008 bytes in this process."""
    area = open_capture(IMAGE).vcpus[0].areas[0]
    interpreted, compiled = image_parsers()
    data = bytes(area.data)
    copy = partial(call_us, lambda: bytearray(data), 20_000)
    tree = partial(call_us, lambda: read_image(area), 500)
    theirs = partial(call_us, lambda: compiled.parse(data), 100)
    yield Case("an image of 11,008 bytes to all its members", "construct, compiled", tree, theirs, "us", 1)
    theirs = partial(call_us, lambda: interpreted.parse(data), 20)
    yield Case("the same", "construct, interpreted", tree, theirs, "us", 0.2)
    yield Case("the same", "-", tree, None, "us", 60)
    lazy = partial(call_us, lambda: FieldTable(area).xstate_bv, 5_000)
    yield Case("the image as a table, XSTATE_BV read", "a copy of its bytes", lazy, copy, "us", 5)


def cores(path: str) -> Iterator[Case]:
    """A core of 1,000 threads: 11.9 MB of notes."""
    index, scan = partial(call_us, lambda: open_capture(path), 3), partial(call_us, lambda: scan_notes(path), 3)
    yield Case("index of a core of 1,000 threads", "a bare scan of its notes", index, scan, "us", 8)
    for name, words, most in (
        ("its registers, 302,000 fields: `--json`", ("--json",), 1000),
        ("`--jsonl`", ("--jsonl",), 1000),
        ("text", (), 3000),
        ("`--list`", ("--list",), 300),
    ):
        yield Case(name, "-", inspector("show", path, *words), None, "ms", most)
    command = (sys.executable, "-m", "inspector", "show", path, "--jsonl")
    yield Case("memory of `--jsonl`", "-", partial(peak_mb, command), None, "MB", 40)


def image_parsers() -> tuple[construct.Construct, construct.Construct]:
    """construct's own parser of the same image at the same depth, interpreted and compiled."""
    area = open_capture(IMAGE).vcpus[0].areas[0]
    members = ["legacy" / LEGACY.construct.construct(), "header" / HEADER.construct.construct()]
    at = 576
    for room in sorted((r for r in area.attributes["table"].rooms if r.offset), key=lambda r: r.offset):
        if room.offset > at:
            members.append(construct.Padding(room.offset - at))
        component = BY_NUMBER[room.component]
        members.append(component.name / component.construct.construct())
        at = room.offset + room.size_bytes
    declaration = construct.Struct(*members)
    return declaration, declaration.compile()


def thousand_threads(folder: str) -> str:
    """A core of 1,000 threads with 11,008-byte images."""
    sys.path.insert(0, str(ROOT))
    from tests.readers.test_elf_core import thread
    from tests.support import core64

    path = Path(folder) / "core"
    path.write_bytes(core64(b"".join(thread(pid) for pid in range(1000))))
    return str(path)


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
