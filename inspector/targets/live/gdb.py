"""``gdb:HOST:PORT`` and ``gdb:PATH``: the registers of every thread behind a gdb stub.

QEMU's stub stops the machine when somebody connects and does not resume it when the connection goes, so what is looked
at is detached from (``D``), which resumes it, and a guard does so where this program cannot. A machine that QEMU says
was not started yet, or waits for a migration, is left as it was; so is everything with ``?paused``.

Source: QEMU gdbstub/system.c (gdb_chr_event, handle_detach), gdbserver/server.cc (handle_detach).
"""

from __future__ import annotations

import socket
from contextlib import closing

from inspector.capture.errors import InputError, visible
from inspector.capture.host import Host
from inspector.capture.model import Capture, Vcpu
from inspector.readers.named_values import Sized, named_area
from inspector.readers.options import Options
from inspector.targets.live.gdb_description import Description, Register, described
from inspector.targets.live.gdb_paths import paths_of
from inspector.targets.live.gdb_remote import FAREWELL, TAKEN, Remote
from inspector.targets.live.guard import Guard
from inspector.targets.live.link import Link, Place, Word, made_socket, parsed
from inspector.targets.live.pause import Pause, told_pause

SCHEME = "gdb:"
_PAUSED = "paused"
_STUB = "a gdb stub"
_ARCHITECTURES = {"aarch64": "arm64", "i386:x86-64": "x86", "i386": "x86"}


def capture_of_gdb(target: str, options: Options) -> Capture:
    """One vCPU a thread. Raises UsageError for the word, InputError for an endpoint that is no stub."""
    word = parsed(target, SCHEME, (_PAUSED,))
    socket_, place = made_socket(word)
    with (
        closing(socket_),
        told_pause(target, "what is behind the stub", options.note) as pause,
        Guard(target, socket_, FAREWELL, TAKEN) as guard,
    ):
        visit = _Visit(word, guard, pause)
        return visit.capture(socket_, place)


class _Visit:
    """One look at what is behind a stub; in the end it goes on, or is as it was."""

    def __init__(self, word: Word, guard: Guard, pause: Pause) -> None:
        self._name = word.target
        self._word = word
        self._guard = guard
        self._pause = pause
        self._stays = word.wish == _PAUSED
        self._is_kvm: bool | None = None

    def capture(self, socket_: socket.socket, place: Place) -> Capture:
        """Connect, which stops it; read; let go."""
        if not self._stays:
            self._guard.arm()
        link = Link(self._word, _STUB, socket_, place)
        self._pause.begin()
        try:
            remote = Remote(link)
            self._ask_status(remote)
            return self._read(remote)
        finally:
            self._let_go()

    def _ask_status(self, remote: Remote) -> None:
        """Whether there is a process, and for QEMU whether the machine would run without us, and on what."""
        stopped = remote.ask("?")
        if stopped[:1] in (b"W", b"X"):
            raise InputError(self._name, "a running process or machine", "a stub whose process has ended")
        status = remote.said("info status")
        if status.startswith("VM status:"):
            self._is_kvm = "enabled" in remote.said("info kvm")
            if "(" in status:
                self._stays = True
                self._guard.disarm()

    def _let_go(self) -> None:
        if self._stays:
            self._pause.end("was stopped before, and stays so")
        elif self._guard.close():
            self._pause.end()
        else:
            self._pause.end("was stopped for {time} and was told to go on, which it did not answer")

    def _read(self, remote: Remote) -> Capture:
        if not remote.has_description:
            raise InputError(self._name, "a stub with a target description (qXfer:features:read)", "none")
        description = described(remote.document, self._name)
        arch = _ARCHITECTURES.get(description.architecture)
        if arch is None:
            raise InputError(self._name, "CPUs of x86 or arm64", description.architecture or "no architecture")
        vcpus: list[Vcpu] = []
        notices: list[str] = []
        faults: list[InputError] = []
        threads = remote.threads()
        for thread in threads:
            try:
                vcpus.append(self._vcpu(remote, thread, len(vcpus), arch, description, notices))
            except InputError as error:
                if not vcpus:
                    raise
                faults.append(InputError(self._name, f"{len(threads)} threads", f"{len(vcpus)}, then {error.found}"))
                break
        about = f"gdb stub of {visible(description.architecture)}"
        return Capture(self._name, "gdb-stub", vcpus, host=Host(about=about), faults=faults, notices=notices)

    def _vcpu(
        self, remote: Remote, thread: str, index: int, arch: str, description: Description, notices: list[str]
    ) -> Vcpu:
        remote.choose(thread)
        registers = _registers(remote, description.registers, self._name)
        values = paths_of(registers)
        if not values:
            raise InputError(self._name, "registers of a thread", "none")
        name = visible(remote.name_of(thread))
        if self._is_kvm is not None and _top(values) and not self._is_kvm:
            values = {f"fpr[{path[9:]}" if path.startswith("xsave.st[") else path: one for path, one in values.items()}
            notices.append(f"{name}: TOP is not 0, and QEMU's TCG numbers x87 registers physically: they are fpr[n]")
        return Vcpu(index, name, arch, [named_area(values, self._name, "registers of the gdb stub")])


def _top(values: dict[str, Sized]) -> int:
    """TOP of the x87 status word."""
    return values.get("xsave.legacy.fsw", (0, 2))[0] >> 11 & 7


def _registers(remote: Remote, registers: list[Register], name: str) -> dict[str, Sized]:
    """Every register by gdb's name: what ``g`` has, and the rest one by one. ``x`` digits are not available."""
    whole = remote.ask("g")
    digits = b"" if whole[:1] == b"E" and len(whole) == 3 else whole
    found: dict[str, Sized] = {}
    at = 0
    for register in registers:
        size = 2 * register.size_bytes
        raw = digits[at : at + size]
        at += size
        if len(raw) < size:
            raw = remote.ask(f"p{register.number:x}")
            if len(raw) < size and (not raw or raw[:1] == b"E"):
                continue
        if b"x" not in raw:
            found.setdefault(register.name, (_value(raw, register, name), register.size_bytes))
    return found


def _value(raw: bytes, register: Register, name: str) -> int:
    """Digits of bytes in the target's order, which is little-endian on both architectures."""
    try:
        data = bytes.fromhex(raw.decode("ascii"))
    except ValueError:
        data = b""
    if len(data) != register.size_bytes:
        expected = f"{visible(register.name)[:32]} as {register.size_bytes} bytes"
        raise InputError(name, expected, visible(raw[:24].decode("latin-1")))
    return int.from_bytes(data, "little")
