"""Recorded answers of x86 kernels, replayed: one function a kind of record.

The recorder's kinds and words are those of docs/x86-machine.md. Each function gives the recorded
answer beside the machine's; a record that only describes the host gives none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.answer import Answer, NotAsked, text_of
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.replay.guest import GuestReplay
from inspector.machine.x86.replay.kvm import KvmReplay
from inspector.machine.x86.replay.process import ProcessReplay
from inspector.machine.x86.replay.programs.replay import replay_program
from inspector.machine.x86.replay.programs.traced import replay_ptrace
from inspector.machine.x86.replay.sequence import replay_sequence
from layouts.x86.kernels import profile_for

#: The CPU of a file that has no ``cpuid`` records (the sequence files: AMX, XFD, VMX).
DEFAULT_CPU = "sapphire-rapids"


#: CPUID leaf with the processor's brand string, which every processor has and the emulator's recordings lack.
_BRAND = (0x80000002, 0)
#: Kinds that were only recorded on silicon.
_PROGRAMS = frozenset(("prog", "ptrace"))


def hosted(records: Sequence[dict[str, Any]], cpu: str = "") -> Host:
    """The host that records describe, or a shipped CPU. Raises UnknownReleaseError."""
    bare: dict[tuple[int, int], CpuidValues] = {}
    release = ""
    for record in records:
        if record["t"] == "cpuid":
            bare[record["leaf"], record["sub"]] = tuple(record["r"])
        elif record["t"] == "uname":
            release = record["release"]
    cpuid = shipped_cpu(cpu or DEFAULT_CPU) if cpu or not bare else Cpuid(bare)
    is_silicon = any(bare.get(_BRAND, ())) or any(record["t"] in _PROGRAMS for record in records)
    return Host(cpuid, profile_for(release), emulated=not is_silicon)


def replay(host: Host, records: Sequence[dict[str, Any]]) -> Iterator[Answer | NotAsked]:
    """Every answer of a file, on a host."""
    processes = ProcessReplay(host)
    kvm = KvmReplay(processes)
    guest = GuestReplay(kvm)
    kinds = processes.kinds() | kvm.kinds() | guest.kinds()
    for record in records:
        if record["t"] == "seq":
            yield from replay_sequence(host, record)
        elif record["t"] == "prog":
            yield from replay_program(host, record)
        elif record["t"] == "ptrace":
            yield from replay_ptrace(host, record)
        elif record["t"] in kinds:
            text = text_of(record)
            for expected, predicted, accepted, because in kinds[record["t"]](record):
                yield Answer(record["t"], text, expected, predicted, accepted, because)
