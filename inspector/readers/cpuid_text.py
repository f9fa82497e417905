"""CPUID leaves as text: ``cpuid -r``, InstLatx64 and libcpuid raw dumps."""

from __future__ import annotations

import re
import struct

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid, CpuidValues, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.options import Options
from inspector.readers.source import Source

MAX_SIZE_BYTES = 64 << 20

_CPU = re.compile(
    r"CPU(?: (?P<etallen>\d+))?:"
    r"|-+\[ (?:CPUID Registers / )?Logical CPU #(?P<instlat>\d+) \]-+"
    r"|_+ Logical CPU #(?P<libcpuid>\d+) _+"
)
_HEX = "[0-9a-fA-F]"
_ETALLEN = re.compile(
    rf"0x({_HEX}{{8}}) 0x({_HEX}{{2,8}}): "
    rf"eax=0x({_HEX}{{8}}) ebx=0x({_HEX}{{8}}) ecx=0x({_HEX}{{8}}) edx=0x({_HEX}{{8}})"
)
_INSTLAT = re.compile(
    rf"CPUID ({_HEX}{{8}}): ({_HEX}{{8}})-({_HEX}{{8}})-({_HEX}{{8}})-({_HEX}{{8}})(?: \[SL ({_HEX}{{2}})\])?(?: .*)?"
)
_LIBCPUID = re.compile(rf"(\w+)\[(\d+)\]=({_HEX}+) ({_HEX}+) ({_HEX}+) ({_HEX}+)")
#: libcpuid's arrays: leaf of element 0, and whether the elements are sub-leaves.
_ARRAYS = {
    "basic_cpuid": (0, False),
    "ext_cpuid": (0x80000000, False),
    "intel_fn4": (4, True),
    "intel_fn11": (0xB, True),
    "intel_fn12h": (0x12, True),
    "intel_fn14h": (0x14, True),
    "amd_fn8000001dh": (0x8000001D, True),
    "amd_fn80000026h": (0x80000026, True),
}
_Leaf = tuple[tuple[int, int], CpuidValues]


def looks_like_cpuid_text(head: bytes) -> bool:
    """A heading of a CPU or of the text, and a leaf line of one of the three formats."""
    lines = [line.strip() for line in head[:16384].decode("latin-1").splitlines()]
    return any(_CPU.fullmatch(line) for line in lines) and any(_leaf(line) for line in lines)


def _leaf(line: str) -> _Leaf | None:
    """A leaf line of ``cpuid -r``, InstLatx64 or libcpuid."""
    found = _ETALLEN.fullmatch(line)
    if found:
        leaf, sub, eax, ebx, ecx, edx = (int(part, 16) for part in found.groups())
        return (leaf, sub), (eax, ebx, ecx, edx)
    found = _INSTLAT.fullmatch(line)
    if found:
        leaf, eax, ebx, ecx, edx = (int(part, 16) for part in found.groups()[:5])
        return (leaf, int(found[6] or "0", 16)), (eax, ebx, ecx, edx)
    found = _LIBCPUID.fullmatch(line)
    if found and found[1] in _ARRAYS:
        base, by_sub = _ARRAYS[found[1]]
        number = int(found[2])
        eax, ebx, ecx, edx = (int(part, 16) & 0xFFFFFFFF for part in found.groups()[2:])
        return ((base, number) if by_sub else (base + number, 0)), (eax, ebx, ecx, edx)
    return None


def parse(source: Source) -> tuple[dict[str, Cpuid], InputError | None]:
    """The CPUID tables by CPU, and the first line of a leaf that cannot be read.

    Other text (headings, MSRs, latencies, libcpuid's report) is passed over.
    """
    text = source.read_all(MAX_SIZE_BYTES).decode("latin-1")
    tables: dict[str, dict[tuple[int, int], CpuidValues]] = {}
    fault = source.fault
    at = 0
    current: dict[tuple[int, int], CpuidValues] | None = None
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        cpu = _CPU.fullmatch(stripped)
        leaf = _leaf(stripped)
        if cpu:
            number = next((part for part in cpu.groups() if part is not None), None)
            current = tables.setdefault("CPU" if number is None else f"CPU {number}", {})
        elif leaf:
            current = tables.setdefault("CPU", {}) if current is None else current
            current.setdefault(*leaf)
        elif fault is None and stripped.startswith(("0x", "CPUID 0", "CPUID 8")):
            fault = InputError(source.name, "a CPUID leaf", repr(stripped[:40]), at)
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
    """A dump as a capture with one vCPU for each CPU in it."""
    tables, fault = parse(source)
    if not tables:
        raise fault or InputError(source.name, "CPUID leaves", "none")
    vcpus = [
        Vcpu(index, name, "x86", [cpuid_area(cpuid, Origin(source.name, 0), "CPUID leaves")])
        for index, (name, cpuid) in enumerate(tables.items())
    ]
    host = Host(cpuid=next(iter(tables.values())), about="CPUID text")
    return Capture(source.name, "cpuid-r", vcpus, host=host, faults=[fault] if fault else [])
