"""Threads of a running process, stopped by ptrace and let go.

PTRACE_SEIZE changes nothing, PTRACE_INTERRUPT stops without a signal, and the kernel lets go of everything when the
tracer ends, however that ends. The tracer is a thread, so what this module does runs in one of its own.

Source: ptrace(2); Linux kernel/ptrace.c (ptrace_attach, ptrace_detach, exit_ptrace).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep

from inspector.capture.errors import InputError

_DETACH, _GETREGSET, _SEIZE, _INTERRUPT = 17, 0x4204, 0x4206, 0x4207
_WALL = 0x40000000
_EVENT_SHIFT = 16
#: Threads that are made while others are stopped: as many rounds are looked at.
_MOST_ROUNDS = 64
_MOST_THREADS = 1 << 16
_STOP_SECONDS = 5.0
#: ZA of 2048-bit vectors, and its header.
_LARGEST_REGSET_BYTES = 1 << 17

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class Tracer:
    """Threads of one process while they are stopped. Only the thread that made it may use it.

    ``begins`` is called when the first one is about to stop.
    """

    def __init__(self, name: str, pid: int, begins: Callable[[], None]) -> None:
        self._name = name
        self._pid = pid
        self._begins = begins
        self._until = monotonic() + _STOP_SECONDS
        self._buffer = ctypes.create_string_buffer(_LARGEST_REGSET_BYTES)
        #: Seized threads: the signal that each is let go with, None while it runs.
        self._held: dict[int, int | None] = {}

    def stop(self, thread: int | None = None) -> list[int]:
        """Stop one thread, or all, also those that are made meanwhile; their ids. Raises InputError."""
        for _ in range(_MOST_ROUNDS):
            new = [one for one in ([thread] if thread else self._threads()) if one not in self._held]
            if not new:
                break
            if len(self._held) + len(new) > _MOST_THREADS:
                raise InputError(self._name, f"at most {_MOST_THREADS} threads", "more")
            for one in new:
                self._seize(one)
            for one in new:
                if one in self._held:
                    self._await(one)
            if thread:
                break
        if not self._held:
            raise InputError(self._name, "a running process", "one that has ended")
        return sorted(self._held)

    def regset(self, thread: int, number: int) -> bytes:
        """A register set by the number of its note; empty where the thread has none."""
        vector = _IoVec(ctypes.addressof(self._buffer), _LARGEST_REGSET_BYTES)
        if _libc.ptrace(_GETREGSET, thread, number, ctypes.addressof(vector)) < 0:
            return b""
        return self._buffer.raw[: vector.len]

    def release(self) -> None:
        """Let go of all. One that did not stop is let go of by the kernel when this thread ends."""
        for thread, signal in self._held.items():
            if signal is not None:
                _libc.ptrace(_DETACH, thread, None, signal)
        self._held.clear()

    def _threads(self) -> list[int]:
        try:
            return sorted(map(int, os.listdir(f"/proc/{self._pid}/task")))
        except OSError:
            return []

    def _seize(self, thread: int) -> None:
        if _libc.ptrace(_SEIZE, thread, None, None) < 0:
            number = ctypes.get_errno()
            if number == errno.ESRCH and self._held:
                return
            raise InputError(self._name, "a process that may be traced", self._why(thread, number))
        if not self._held:
            self._begins()
        self._held[thread] = None
        _libc.ptrace(_INTERRUPT, thread, None, None)

    def _why(self, thread: int, number: int) -> str:
        if number == errno.ESRCH:
            return "no such process"
        status = _status(thread)
        if status.get("TracerPid", "0") != "0":
            return f"one that process {status['TracerPid']} traces"
        if status.get("State", "").startswith(("Z", "X")):
            return "one that has ended"
        if status.get("Kthread") == "1":
            return "a thread of the kernel"
        if thread in self._threads_of_ours():
            return "this program itself"
        scope = ""
        with suppress(OSError, ValueError), open("/proc/sys/kernel/yama/ptrace_scope", "rb") as file:
            scope = f", kernel.yama.ptrace_scope is {int(file.read(16))}"
        return f"{os.strerror(number)} (its user or root may, with CAP_SYS_PTRACE{scope})"

    @staticmethod
    def _threads_of_ours() -> list[int]:
        return list(map(int, os.listdir("/proc/self/task")))

    def _await(self, thread: int) -> None:
        """Until it stands: at the interrupt, or with a signal, which it is let go with."""
        while True:
            try:
                found, status = os.waitpid(thread, os.WNOHANG | _WALL)
            except ChildProcessError:
                found, status = thread, 0
            if found and not os.WIFSTOPPED(status):
                del self._held[thread]
                return
            if found:
                self._held[thread] = 0 if status >> _EVENT_SHIFT else os.WSTOPSIG(status)
                return
            if monotonic() > self._until:
                state = _status(thread).get("State", "unknown")
                expected = f"thread {thread} to stop within {_STOP_SECONDS:g} seconds"
                raise InputError(self._name, expected, f"state {state}, in which it takes no signals")
            sleep(0.0002)


def _status(thread: int) -> dict[str, str]:
    """The lines of /proc/N/status; none where it is gone."""
    try:
        with open(f"/proc/{thread}/status", encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
