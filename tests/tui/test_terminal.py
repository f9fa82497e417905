"""The real program in a real (pseudo-)terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyte
import pytest


class Terminal:
    """A program with a terminal, and what that terminal shows."""

    def __init__(self, descriptor: int, columns: int, lines: int) -> None:
        self.descriptor = descriptor
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.received = b""

    def read(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            if not poll.poll(1000 * left):
                return
            try:
                data = os.read(self.descriptor, 1 << 16)
            except OSError:
                return
            self.received += data
            self.stream.feed(data)

    def wait_for(self, text: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.1)
            if text in "\n".join(self.screen.display):
                return
        raise AssertionError(f"{text!r} did not come; on screen:\n" + "\n".join(self.screen.display))

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())


@contextmanager
def program(*words: str, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    child, descriptor = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.environ.pop("COLUMNS", None)
        os.environ.pop("LINES", None)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.execv(sys.executable, [sys.executable, "-m", "inspector", *words])
    try:
        yield Terminal(descriptor, columns, lines)
    finally:
        os.close(descriptor)
        os.waitpid(child, 0)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_look_search_edit_copy_quit(size: tuple[int, int]) -> None:
    with program("open", "sample:amx/process.core", columns=size[0], lines=size[1]) as terminal:
        terminal.wait_for("xstate_bv")
        terminal.type("/tmm[2]\r")
        terminal.wait_for("xsave.xtiledata.tmm[2]")
        terminal.type(":xsave.pkru.pkru\r")
        terminal.wait_for("0x55555554")
        terminal.type("\r0x33\r")
        terminal.wait_for("1 edit, file untouched")
        terminal.wait_for("0x00000033")
        terminal.type("u")
        terminal.wait_for("0x55555554")
        terminal.type("y")
        terminal.wait_for("clipboard")
        assert b"\x1b]52;c;MHg1NTU1NTU1NA==" in terminal.received
        terminal.type("q")
        terminal.read(3)


def test_target_without_a_command() -> None:
    with program("sample:zen5-kvm") as terminal:
        terminal.wait_for("vcpu0_pattern")
        terminal.type("q")
        terminal.read(3)


def test_unreadable_target_ends_with_one_line() -> None:
    with program("open", "/does/not/exist") as terminal:
        terminal.wait_for("no such file")
