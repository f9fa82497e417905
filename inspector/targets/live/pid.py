"""``pid:N`` and ``pid:N/TID``: every register set that the kernel gives of the threads of a running process.

Areas are those of a core of the process, so a core that gcore writes of the same stop has the same fields. Interrupted
calls go on, but for the few that no debugger leaves alone either (signal(7): epoll_wait, semop and some others end with
EINTR).
"""

from __future__ import annotations

import os
from threading import Thread

from inspector.capture.attributes import XsaveTable
from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.decode.placement import table_from_cpuid
from inspector.readers.elf_core import read_regsets
from inspector.readers.elf_notes import NoteAt
from inspector.readers.options import Options
from inspector.readers.source import BytesSource
from inspector.targets.live.own_cpuid import own_cpuid
from inspector.targets.live.pause import Pause, told_pause
from inspector.targets.live.ptrace import Tracer
from layouts.files.elf import EM_386, EM_AARCH64, EM_X86_64, NOTES
from layouts.registry import size_bytes

SCHEME = "pid:"
_MACHINES = {"x86_64": EM_X86_64, "aarch64": EM_AARCH64}
_NT_AUXV = 6
_AUXV_LIMIT_BYTES = 1 << 14


def capture_of_pid(target: str, options: Options) -> Capture:
    """One vCPU a thread. Raises UsageError for the word, InputError for what cannot be traced."""
    pid, thread = _parsed(target)
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        raise InputError(target, "a machine of x86-64 or arm64", os.uname().machine)
    what = f"thread {thread}" if thread else f"every thread of process {pid}"
    with told_pause(target, what, options.note) as pause:
        found = _traced(target, pid, thread, machine, pause)
    return _capture(target, options, pid, machine, found)


def _parsed(target: str) -> tuple[int, int | None]:
    pid, slash, thread = target.removeprefix(SCHEME).partition("/")
    words = [pid, thread] if slash else [pid]
    if not all(word.isascii() and word.isdigit() and 0 < int(word[:10]) < 1 << 31 for word in words):
        raise UsageError(f"{target}: expected pid:N or pid:N/TID, the numbers of a process and of one of its threads")
    if not os.path.exists(f"/proc/{pid}"):
        raise InputError(target, "a running process", "no such process")
    if slash and not os.path.exists(f"/proc/{pid}/task/{thread}"):
        raise InputError(target, f"a thread of process {pid}", f"none with number {thread}")
    return int(pid), int(thread) if slash else None


#: By thread: the note's owner and number, and the register set.
_Found = dict[int, list[tuple[str, int, bytes]]]


def _traced(target: str, pid: int, thread: int | None, machine: int, pause: Pause) -> _Found:
    """Stop, read, let go, in a thread whose end lets go of what could not be stopped."""
    found: _Found = {}
    failed: list[Exception] = []

    def trace() -> None:
        tracer = Tracer(target, pid, pause.begin)
        try:
            for one in tracer.stop(thread):
                found[one] = list(_regsets(tracer, one, machine))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
            failed.append(error)
        finally:
            tracer.release()
            pause.end()

    tracing = Thread(target=trace, name="tracing", daemon=True)
    tracing.start()
    tracing.join()
    if failed:
        raise failed[0]
    return found


def _regsets(tracer: Tracer, thread: int, machine: int) -> list[tuple[str, int, bytes]]:
    seen: dict[int, str] = {
        note.type: note.owner
        for note in NOTES
        if note.scope == "thread" and machine in (note.machines or (machine,)) and note.layout != "raw"
    }
    read = [(owner, number, tracer.regset(thread, number)) for number, owner in seen.items()]
    return [(owner, number, data) for owner, number, data in read if data]


def _capture(target: str, options: Options, pid: int, machine: int, found: _Found) -> Capture:
    """The register sets as notes one behind the other."""
    if all(not sets or len(sets[0][2]) == size_bytes("elf-regs-i386") for sets in found.values()):
        machine = EM_386 if machine == EM_X86_64 else machine
    held = bytearray()

    def noted(owner: str, number: int, data: bytes) -> NoteAt:
        held.extend(data)
        return NoteAt(owner, number, len(held) - len(data), len(data), len(data))

    order = sorted(found, key=lambda thread: (thread != pid, thread))
    threads = [(f"thread {thread}", [noted(*one) for one in found[thread]]) for thread in order]
    auxv = _auxv(pid)
    process = [noted("CORE", _NT_AUXV, auxv)] if auxv else []
    cpuid = own_cpuid()
    table: XsaveTable | None = table_from_cpuid(cpuid.xsave_table(), "CPUID of this machine") if cpuid else None
    capture = read_regsets(BytesSource(target, bytes(held)), options, threads, process, machine, table)
    capture.host = capture.host._replace(cpuid=cpuid, kernel=os.uname().release)
    return capture


def _auxv(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/auxv", "rb") as file:
            return file.read(_AUXV_LIMIT_BYTES)
    except OSError:
        return b""
