"""A real QEMU with a guest that reads its CPUID over and over: migrated to a file, and loaded by another."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from inspector.capture.host import Cpuid, CpuidValues

PROGRAM = shutil.which("qemu-system-x86_64")
#: What the guest reads: leaf and sub-leaf.
LEAVES = ((0, 0), (1, 0), (7, 0), (7, 1), (0xD, 0), (0xD, 1), (0x80000001, 0), (0x80000008, 0), (0x8000000A, 0))
_TABLE_AT, _COUNT_AT, _READ_TO = 0x49, 0x9FF0, 0x9000
#: 16-bit code at the reset vector's segment: DS, ES, SS 0; for each row of the table CPUID, four STOSD to 0x9000;
#: then the count at 0x9ff0 goes up, and again.
_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007066c706f09f00000000bf009031f62e668b8449002e668b8c4d000fa266ab6689d866ab6689c866ab6689d066ab"
    "83c60881fe480075d866ff06f09febcc"
)


def rom() -> bytes:
    """64 KiB of firmware: the code, its table, and a jump to it at the reset vector."""
    table = b"".join(struct.pack("<2I", *leaf) for leaf in LEAVES)
    return (_CODE + table).ljust(0xFFF0, b"\0") + b"\xe9\x0d\x00".ljust(16, b"\0")


class Qemu:
    """A QEMU, asked by QMP. ``loads``: a migrated state that it begins with; ``code``: its firmware."""

    def __init__(
        self,
        cpu: str,
        machine: str,
        folder: Path,
        loads: Path | None = None,
        *,
        code: bytes = b"",
        accelerator: str = "tcg",
    ) -> None:
        code = code or rom()
        firmware = folder / f"rom-{zlib.crc32(code):08x}.bin"
        if not firmware.exists():
            firmware.write_bytes(code)
        words = [str(PROGRAM), "-accel", accelerator, "-machine", machine, "-cpu", cpu, "-m", "8", "-nodefaults"]
        words += ["-display", "none", "-bios", str(firmware), "-qmp", "stdio", "-S"]
        words += ["-incoming", f"exec:cat {loads}"] if loads else []
        self.folder = folder
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self.events: list[str] = []
        try:
            self._read()
            self.ask("qmp_capabilities")
        except (EOFError, BrokenPipeError):
            # One that does not take the state may end before it is asked: loaded() tells.
            if loads is None:
                raise

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(self.said())
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, command: str, **arguments: Any) -> Any:
        """A QMP command's answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._process.stdin.flush()
        while True:
            found = self._read()
            if "event" in found:
                self.events.append(found["event"])
            elif "error" in found:
                raise ValueError(found["error"]["desc"])
            else:
                return found["return"]

    def said(self) -> str:
        """What it printed to people."""
        self._process.wait(10)
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def warnings(self) -> str:
        """What it has printed so far."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def seen(self) -> Cpuid:
        """CPUID as the guest reads it now: it goes on for three rounds more."""
        self.ask("cont")
        first = self._count()
        while (now := self._count()) - first & 0xFFFFFFFF < 3:
            del now
            time.sleep(0.01)
        self.ask("stop")
        data = self.memory(_READ_TO, 16 * len(LEAVES))
        rows: dict[tuple[int, int], CpuidValues] = {}
        for number, leaf in enumerate(LEAVES):
            rows[leaf] = struct.unpack_from("<4I", data, 16 * number)
        return Cpuid(rows)

    @property
    def spent_seconds(self) -> float:
        """Processor time that it has taken: more and more while its guest hangs, none while it waits for a CPU."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _count(self) -> int:
        return int.from_bytes(self.memory(_COUNT_AT, 4), "little")

    def memory(self, at: int, size: int) -> bytes:
        """Bytes of physical memory."""
        file = self.folder / f"memory-{id(self)}"
        self.ask("pmemsave", val=at, size=size, filename=str(file))
        return file.read_bytes()

    def save(self, to: Path) -> None:
        """Migrate to a file."""
        self.ask("migrate", uri=f"exec:cat > {to}")
        self._until_migrated()

    def _until_migrated(self) -> None:
        while (status := self.ask("query-migrate").get("status")) not in ("completed", "failed"):
            del status
            time.sleep(0.01)

    def loaded(self) -> bool:
        """Whether the state that it begins with was loaded; False where it ended."""
        try:
            self._until_migrated()
        except (EOFError, BrokenPipeError):
            return False
        return True

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._errors.close()
