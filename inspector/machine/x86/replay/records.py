"""Recorded answers of x86 kernels, replayed: one function a kind of record.

The recorder's kinds and words are those of docs/x86-machine.md. Each function gives the recorded
answer beside the machine's; a record that only describes the host gives none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.answer import Answer, NotAsked, text_of, unknown
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
#: The modules of kernel.org kernels.
_MODULES = ("kvm_intel", "kvm_amd")
_FOREIGN = "what a module of KVM offers that no kernel.org kernel has: the host is what it shows"
Leaves = dict[tuple[int, int], CpuidValues]
#: Kinds that describe the host, its processes and its log, and are no answer to what this machine is asked.
_DESCRIPTIONS = frozenset(
    ("uname", "meta", "cpuid", "cpuinfo", "auxv", "kvmmodule", "insmod", "kvm", "sregs", "child"),
)
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
    if bare and has_foreign_module(records):
        bare = _as_offered(bare, records)
    cpuid = shipped_cpu(cpu or DEFAULT_CPU) if cpu or not bare else Cpuid(bare)
    is_silicon = any(bare.get(_BRAND, ())) or any(record["t"] in _PROGRAMS for record in records)
    return Host(cpuid, profile_for(release), emulated=not is_silicon)


def has_foreign_module(records: Sequence[dict[str, Any]]) -> bool:
    """KVM ran with a module that no kernel.org kernel has (``kvm_pvm``): nobody here knows what that one hides."""
    return any(record["t"] == "kvmmodule" and record["name"] not in _MODULES for record in records)


def _as_offered(bare: Leaves, records: Sequence[dict[str, Any]]) -> Leaves:
    """The leaves of extended state as KVM offered them to the first process, the others as the CPU has them."""
    rows = [record for record in records if record["t"] == "kvmcpuid"]
    offered: Leaves = {(row["leaf"], row["sub"]): tuple(row["r"]) for row in rows if row["ctx"] == rows[0]["ctx"]}
    leaves = {leaf for leaf, _ in offered}
    return {**{key: values for key, values in bare.items() if key[0] not in leaves}, **offered}


def replay(host: Host, records: Sequence[dict[str, Any]]) -> Iterator[Answer | NotAsked]:
    """Every answer of a file, on a host."""
    processes = ProcessReplay(host)
    kvm = KvmReplay(processes)
    guest = GuestReplay(kvm)
    kinds = processes.kinds() | kvm.kinds() | guest.kinds()
    is_told = has_foreign_module(records)
    for record in records:
        if is_told and record["t"] == "kvmcpuid":
            yield NotAsked("kvmcpuid", _FOREIGN, 1)
        elif record["t"] == "seq":
            yield from replay_sequence(host, record)
        elif record["t"] == "prog":
            yield from replay_program(host, record)
        elif record["t"] == "ptrace":
            yield from replay_ptrace(host, record)
        elif record["t"] in kinds:
            text = text_of(record)
            for expected, predicted, accepted, because in kinds[record["t"]](record):
                yield Answer(record["t"], text, expected, predicted, accepted, because)
        elif record["t"] not in _DESCRIPTIONS:
            yield unknown(record["t"])
