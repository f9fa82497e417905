"""What may be opened, and what is refused in one line: FIFOs, devices, sockets, closed and wrong standard input."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from inspector.capture.errors import InputError
from inspector.cli.main import main
from inspector.readers import doors
from inspector.readers.doors import Opened, open_path, standard_input
from inspector.readers.lines import text_of
from inspector.readers.open import open_capture
from inspector.readers.source import open_source
from tests.support import SAMPLES

CORE = (SAMPLES / "amx/process.core").read_bytes()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_fifo_that_nobody_writes_to_is_given_up(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "WRITER_TIMEOUT_SECONDS", 0.2)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"expected a FIFO that is written to, found no writer within 0\.2 seconds"):
        open_capture(str(fifo))
    assert time.monotonic() - started < doors.WRITER_TIMEOUT_SECONDS + 4


def test_a_writer_may_come_late_and_be_slow(fifo: Path) -> None:
    def feed() -> None:
        time.sleep(0.3)
        with fifo.open("wb") as out:
            time.sleep(0.3)
            for at in range(0, len(CORE), 5000):
                out.write(CORE[at : at + 5000])
                out.flush()
                time.sleep(0.01)

    writer = threading.Thread(target=feed)
    writer.start()
    assert open_source(str(fifo)).read(0, 1 << 30) == CORE
    writer.join()


def test_devices_and_sockets_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        with pytest.raises(InputError, match="found a socket"):
            open_capture(str(path))
    for device in ("/dev/zero", "/dev/full", "/dev/ptmx"):
        with pytest.raises(InputError, match="found a character device"):
            open_capture(device)


def test_a_path_that_becomes_a_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and opening, what a path names may change."""
    monkeypatch.setattr(os, "stat", lambda _: os.stat_result((0o100644, *(0,) * 9)))
    with pytest.raises(InputError, match="found a character device"):
        open_path("/dev/zero")


def test_text_files_go_through_the_same_doors(tmp_path: Path, fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "WRITER_TIMEOUT_SECONDS", 0.1)
    path = tmp_path / "t"
    path.write_bytes("naïve".encode())
    assert text_of(str(path), "a model file") == "naïve"
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="expected a model file, found not UTF-8"):
        text_of(str(path), "a model file")
    path.write_bytes(bytes(2 << 20))
    for name in (str(path), str(fifo), "/dev/zero", str(tmp_path)):
        with pytest.raises(InputError):
            text_of(name, "a model file")


def _inspector(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inspector", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "words",
    [
        ("show", "/dev/zero"),
        ("models", "check", "neoverse-v1", "--host", "/dev/zero"),
        ("verify", "/dev/zero"),
        ("migrate", "/dev/zero", "max"),
        ("set", "/dev/zero", "a=1"),
    ],
)
def test_every_command_refuses_a_device(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 3
    assert capsys.readouterr().err == "inspector: /dev/zero: expected a file, found a character device\n"


@pytest.mark.parametrize(
    ("kind", "found"), [("terminal", "a terminal"), ("folder", "a folder"), ("closed", "a closed")]
)
def test_standard_input_that_gives_no_bytes(
    kind: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = pty.openpty()
    descriptor = os.open(tmp_path, os.O_RDONLY) if kind == "folder" else follower
    monkeypatch.setattr(sys, "stdin", None if kind == "closed" else SimpleNamespace(fileno=lambda: descriptor))
    with pytest.raises(InputError, match=f"found {found}"):
        standard_input()
    for each in {leader, follower, descriptor}:
        os.close(each)


def test_a_pipe_that_breaks_is_told_with_its_place(tmp_path: Path) -> None:
    """Any error behind the first bytes: here a folder, which gives none."""
    opened = Opened(os.open(tmp_path, os.O_RDONLY), None, b"12345")
    chunks = opened.chunks("-")
    assert next(chunks) == b"12345"
    with pytest.raises(InputError, match="expected readable bytes") as told:
        next(chunks)
    assert told.value.offset == 5


def test_standard_input_that_is_a_terminal_or_closed() -> None:
    leader, follower = pty.openpty()
    done = _inspector("show", "-", stdin=follower)
    os.close(leader)
    os.close(follower)
    assert done.stderr == "inspector: -: expected a file or a pipe as standard input, found a terminal\n"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m inspector show - <&-"], capture_output=True, text=True, check=False
    )
    assert done.stderr == "inspector: -: expected standard input, found a closed one\n"


def test_a_line_without_end_in_recorded_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x" * (18 << 20))
    assert main(["verify", str(path)]) == 3
    assert "a line of at most 16777216 bytes" in capsys.readouterr().err


def test_members_of_folders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO is no member; a member whose name has a digit that is no number sorts like text."""
    monkeypatch.setattr(doors, "WRITER_TIMEOUT_SECONDS", 0.1)
    os.mkfifo(tmp_path / "vcpu0.kvm_sregs.bin")
    for name in ("².regs.bin", "vcpu10.kvm_regs.bin", "vcpu9.kvm_regs.bin"):
        (tmp_path / name).write_bytes(bytes(144))
    capture = open_capture(str(tmp_path))
    assert [vcpu.name for vcpu in capture.vcpus] == ["vcpu9", "vcpu10", "²"]
