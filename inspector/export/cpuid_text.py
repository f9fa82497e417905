"""``cpuid -r`` text, which ``cpuid -f`` reads back."""

from __future__ import annotations

from typing import TextIO

from inspector.capture.errors import UsageError
from inspector.capture.host import Cpuid
from inspector.capture.model import Capture


def write_cpuid(out: TextIO, capture: Capture) -> None:
    """Write the CPUID tables of a capture, a vCPU each; UsageError when it has none."""
    from inspector.readers.cpuid_table import cpuid_of

    tables: list[tuple[str, Cpuid]] = []
    for vcpu in capture.vcpus:
        area = vcpu.area("cpuid")
        cpuid = cpuid_of(area.data) if area else None
        if cpuid:
            tables.append((f"CPU {vcpu.index}:", cpuid))
    if not tables and capture.host.cpuid:
        tables.append(("CPU:", capture.host.cpuid))
    if not tables:
        raise UsageError(f"{capture.target}: no CPUID was captured")
    for heading, cpuid in tables:
        out.write(f"{heading}\n")
        for (leaf, sub), (eax, ebx, ecx, edx) in cpuid.leaves.items():
            out.write(f"   0x{leaf:08x} 0x{sub:02x}: eax=0x{eax:08x} ebx=0x{ebx:08x} ecx=0x{ecx:08x} edx=0x{edx:08x}\n")
