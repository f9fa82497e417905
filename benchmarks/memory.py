"""Memory of ``open`` on every sample, and a core of 100,000 threads: opened, scrolled, searched, compared.

    python -m benchmarks.memory [--core]

``--core`` leaves the samples out. The core is 1.2 GB, sparse where the file system is; it is made in the temporary
folder and goes with the run.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.cases import ROOT
from benchmarks.terminal import Program
from inspector.capture.errors import InspectorError
from inspector.targets.samples import SCHEME, names, root
from inspector.targets.schemes import capture_of

THREADS = 100_000
_BLOCK_BYTES = 4096
_KEYS = {
    "page down": "\x1b[6~",
    "End": "\x1b[F",
    "Home": "\x1b[H",
    "the last thread": ":#99999\r",
    "[": "[",
    "search": "/zmm[17]\r",
    "next match": "n",
    "search in all": "/*zmm\r",
    "compare": "c",
    "Compare, j": "j",
}


def resident_mb(pid: int) -> float:
    """Memory that a process has now, its own and of files (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def targets() -> list[str]:
    """Every sample by its name, and of those that are folders every file that opens alone."""
    found = [SCHEME + name for name in names()]
    for name in names():
        folder = Path(root()) / name
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        found += [f"{SCHEME}{name}/{path.name}" for path in inside if path.is_file() and path.name != "about.toml"]
    return [target for target in dict.fromkeys(found) if opens(target)]


def opens(target: str) -> bool:
    """The program shows it."""
    try:
        capture_of(target)
    except InspectorError:
        return False
    return True


def of_sample(name: str) -> float:
    """Memory of ``open`` on a sample when its screen is quiet."""
    program = Program([sys.executable, "-m", "inspector", "open", "--no-state", name])
    program.until(b"Help")
    program.until_quiet()
    found = resident_mb(program.child)
    program.end()
    return found


def make_core(path: Path, threads: int) -> None:
    """A core of equal threads but for their numbers; blocks of zeros are holes."""
    sys.path.insert(0, str(ROOT))
    from tests.readers.test_elf_core import thread
    from tests.support import core64

    size_bytes, at_size = len(thread(1)), 64 + 32
    head = bytearray(core64(thread(1))[: -size_bytes or None])
    head[at_size : at_size + 8] = (threads * size_bytes).to_bytes(8, "little")
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + threads * size_bytes)
        for number in range(threads):
            data, start = thread(number + 1), len(head) + number * size_bytes
            for at in range(0, size_bytes, _BLOCK_BYTES):
                block = data[at : at + _BLOCK_BYTES]
                if any(block):
                    os.pwrite(file.fileno(), block, start + at)


def crowd(path: Path) -> None:
    """Print when the fields are there, what each key takes, and the memory behind it."""
    program = Program([sys.executable, "-m", "inspector", "open", "--no-state", str(path)])
    print(f"{'fields':<18} {program.until(b'mxcsr'):>7.0f} ms", end="")
    program.until_quiet()
    print(f" {resident_mb(program.child):>6.0f} MB")
    for _ in range(3):
        program.press("\t")
    for name, key in _KEYS.items():
        taken = program.press(key)
        memory = resident_mb(program.child)
        print(f"{name:<18} {taken.last_byte_ms:>7.0f} ms {memory:>6.0f} MB {taken.size_bytes / 1024:>6.1f} KB")
    program.end()


def main() -> None:
    """Print the samples that take most, and the core."""
    if "--core" not in sys.argv[1:]:
        found = sorted(((of_sample(target), target) for target in targets()), reverse=True)
        print(f"{len(found)} samples, at most {found[0][0]:.0f} MB (60 promised)")
        print(*(f"{memory:>6.1f} MB  {name}" for memory, name in found[:5]), sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "core"
        make_core(path, THREADS)
        crowd(path)


if __name__ == "__main__":
    main()
