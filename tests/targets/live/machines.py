"""QEMU machines for tests: no firmware, a few instructions that leave known registers, then a loop."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.model import Capture
from inspector.diff.changes import Change, difference
from inspector.diff.pairing import rows

#: cli; CR0.EM=0, MP=1; CR4.OSFXSR, OSXMMEXCPT; fninit; fldpi; fld1 (TOP 6); xmm3 = eax = 0x12345678; ebx; jmp .
_X86 = bytes.fromhex(
    "fa 0f20c0 6683e0fb 6683c802 0f22c0 0f20e0 660d00060000 0f22e0 dbe3 d9eb d9e8"
    "66b878563412 660f6ed8 66bbbebafeca ebfe"
)
#: CPACR_EL1.FPEN=3; isb; x2 = 0xbeef; v5 = x2:x2; TPIDR_EL1 = x2; b .
_ARM64 = b"".join(
    word.to_bytes(4, "little")
    for word in (0xD2A00601, 0xD5181041, 0xD5033FDF, 0xD297DDE2, 0x9E670045, 0x9EAF0045, 0xD518D082, 0x14000000)
)


def _payload(arch: str, folder: Path) -> list[str]:
    if arch == "arm64":
        (folder / "kernel").write_bytes(_ARM64)
        return ["qemu-system-aarch64", "-M", "virt", "-cpu", "max", "-kernel", str(folder / "kernel")]
    rom = bytearray(1 << 16)
    rom[: len(_X86)] = _X86
    rom[0xFFF0:0xFFF3] = b"\xe9\x0d\x00"  # a jump to the beginning of the segment
    (folder / "rom").write_bytes(rom)
    return ["qemu-system-x86_64", "-cpu", "max", "-bios", str(folder / "rom")]


class Machine:
    """A running QEMU with a monitor of the test's own, one for the tool, and a stub."""

    def __init__(self, arch: str, folder: Path, *words: str) -> None:
        self.folder = folder
        self.gdb, self.qmp = folder / "gdb.sock", folder / "qmp.sock"
        command = [*_payload(arch, folder), "-nodefaults", "-display", "none", "-m", "32", "-smp", "2", *words]
        for name in ("own", "qmp"):
            command += ["-chardev", f"socket,id={name},path={folder / name}.sock,server=on,wait=off"]
            command += ["-mon", f"chardev={name},mode=control"]
        command += ["-chardev", f"socket,id=gdb,path={self.gdb},server=on,wait=off", "-gdb", "chardev:gdb"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self._socket = socket.socket(socket.AF_UNIX)
        self._connect(folder / "own.sock")

    def _connect(self, path: Path) -> None:
        for _ in range(3000):
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
                time.sleep(0.02)
        self._lines = self._socket.makefile("rb")
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "event" not in answer and "QMP" not in answer:
                assert "return" in answer, answer
                return answer["return"]

    @property
    def status(self) -> str:
        found: str = self.ask("query-status")["status"]
        return found

    def until(self, status: str, seconds: float = 60) -> bool:
        """Whether it has this status within some time."""
        end = time.monotonic() + seconds
        while self.status != status:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def settle(self) -> None:
        """Until the guest is in its loop."""
        for _ in range(3000):
            text = self.ask("human-monitor-command", **{"command-line": "info registers"})
            if "cafebabe" in text or "X02=000000000000beef" in text:
                return
            time.sleep(0.02)
        raise AssertionError(text)

    def migrated(self) -> Path:
        """The migration stream of the machine, which is stopped for good by it."""
        path = self.folder / "stream"
        self.ask("stop")
        self.ask("migrate", uri=f"exec:cat > {path}")
        while self.ask("query-migrate")["status"] != "completed":
            time.sleep(0.02)
        return path


@contextmanager
def machine(arch: str, folder: Path, *words: str) -> Iterator[Machine]:
    """A machine that runs; the test is skipped where this QEMU is not installed."""
    program = "qemu-system-aarch64" if arch == "arm64" else "qemu-system-x86_64"
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    made = Machine(arch, folder, *words)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def disagreements(one: Capture, other: Capture) -> tuple[list[Change], int]:
    """Fields of both that differ, and how many fields both have that do not."""
    found: list[Change] = []
    equal = 0
    for row in rows([one, other]):
        both = difference(row.areas)
        found += [change for change in both.changes if all(side is not None for side in change.fields)]
        equal += both.equal
    return found, equal
