"""``cpuid -r`` text: the raw CPUID leaves of one or more CPUs."""

from __future__ import annotations

import re
import struct

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid, CpuidValues, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.options import Options
from inspector.readers.source import Source

MAX_SIZE_BYTES = 64 << 20
_CPU = re.compile(r"CPU(?: (\d+))?:")
_LEAF = re.compile(
    r"0x([0-9a-f]{8}) 0x([0-9a-f]{2,8}): "
    r"eax=0x([0-9a-f]{8}) ebx=0x([0-9a-f]{8}) ecx=0x([0-9a-f]{8}) edx=0x([0-9a-f]{8})"
)


def looks_like_cpuid_text(head: bytes) -> bool:
    """A ``CPU:`` line followed by a leaf line."""
    text = head[:4096].decode("latin-1")
    return bool(_CPU.match(text.lstrip())) and bool(_LEAF.search(text))


def parse(source: Source) -> tuple[dict[str, Cpuid], InputError | None]:
    """The CPUID tables by CPU, and the first line that is neither a CPU nor a leaf."""
    text = source.read_all(MAX_SIZE_BYTES).decode("latin-1")
    tables: dict[str, dict[tuple[int, int], CpuidValues]] = {}
    fault = source.fault
    at = 0
    current = tables.setdefault("CPU", {})
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        cpu = _CPU.fullmatch(stripped)
        leaf = _LEAF.fullmatch(stripped)
        if cpu:
            current = tables.setdefault(f"CPU {cpu[1]}" if cpu[1] else "CPU", {})
        elif leaf:
            number, sub, eax, ebx, ecx, edx = (int(part, 16) for part in leaf.groups())
            current[number, sub] = (eax, ebx, ecx, edx)
        elif stripped and fault is None:
            fault = InputError(source.name, "a cpuid -r line", repr(stripped[:40]), at)
        at += len(line)
    return {name: Cpuid(leaves) for name, leaves in tables.items() if leaves}, fault


def cpuid_area(cpuid: Cpuid, origin: Origin, title: str, prefix: str = "cpuid") -> Area:
    """A CPUID table as the bytes of ``struct kvm_cpuid2``, so that it decodes like one."""
    entries = b"".join(
        struct.pack("<7I12x", leaf, sub, int((leaf, 1) in cpuid.leaves), *values)
        for (leaf, sub), values in cpuid.leaves.items()
    )
    data = struct.pack("<II", len(cpuid), 0) + entries
    return Area("kvm-cpuid2", prefix, title, data, origin, attributes={"synthesized": True})


def read(source: Source, _options: Options) -> Capture:
    """A ``cpuid -r`` dump as a capture with one vCPU for each CPU in it."""
    tables, fault = parse(source)
    if not tables:
        raise fault or InputError(source.name, "CPUID leaves", "none")
    vcpus = [
        Vcpu(index, name, "x86", [cpuid_area(cpuid, Origin(source.name, 0), "CPUID leaves")])
        for index, (name, cpuid) in enumerate(tables.items())
    ]
    host = Host(cpuid=next(iter(tables.values())), about="cpuid -r text")
    return Capture(source.name, "cpuid-r", vcpus, host=host, faults=[fault] if fault else [])
