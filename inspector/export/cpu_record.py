"""A CPU record of a capture: what its first vCPU shows of the machine, one register a line (docs/cpu-record.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TextIO

from inspector.capture.errors import UsageError
from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import FieldTable
from inspector.readers.cpu_record import VERSION
from inspector.readers.cpuid_table import cpuid_of
from inspector.targets.arm64_host import registers_of
from layouts.arm64.kvm_ids import explain
from layouts.x86.kvm_counted import msrs_unpack
from layouts.x86.msrs import msr_name


def write_record(out: TextIO, capture: Capture) -> None:
    """Write the registers, CPUID and MSRs of the first vCPU that has any; UsageError when none has."""
    for vcpu in capture.vcpus:
        sections = list(_sections(vcpu))
        if sections:
            break
    else:
        raise UsageError(f"{capture.target}: no KVM registers, CPUID or MSRs were captured")
    view = "host" if capture.host.cpuid and capture.format == "cpuid-r" else "guest"
    words = {"kernel": capture.host.kernel, "machine": capture.host.about, "source": capture.target}
    lines = [f"cpu_record = {VERSION}", f'view = "{view}"']
    lines += [f"{key} = {json.dumps(text)}" for key, text in words.items() if text]
    out.write("\n".join([*lines, *sections]) + "\n")


def _sections(vcpu: Vcpu) -> Iterator[str]:
    for area in vcpu.areas:
        if "unknown" in area.attributes:
            continue
        if area.layout == "kvm-cpuid2" and area.prefix == "cpuid":
            yield from _cpuid(area)
        elif area.layout == "kvm-msrs":
            yield from _msrs(area)
    yield from _registers(vcpu)


def _cpuid(area: Area) -> Iterator[str]:
    table = cpuid_of(area.data)
    if table is None:
        return
    yield "\n[cpuid]"
    for (leaf, subleaf), values in table.leaves.items():
        yield f"{leaf:#x}.{subleaf:#x} = [{', '.join(f'{value:#010x}' for value in values)}]"


def _msrs(area: Area) -> Iterator[str]:
    table = FieldTable(area)
    dropped = {field.path for field in table if field.value is None}
    values = {
        index: value for index, _, value in msrs_unpack(area.data) if f"{area.prefix}.{msr_name(index)}" not in dropped
    }
    yield from ["\n[msr]", *(f'{index:#x} = "{value:#x}"' for index, value in values.items())]


def _registers(vcpu: Vcpu) -> Iterator[str]:
    named, others = [], []
    for register_id, raw in registers_of(vcpu).items():
        register = explain(register_id)
        value = f'"{int.from_bytes(raw, "little"):#x}"'
        if register.name:
            named.append(f"{register.name} = {value}")
        else:
            others.append(f"{register_id:#018x} = {value}  # {register.path}")
    yield from (["\n[sysreg]", *named] if named else [])
    yield from (["\n[kvm]", *others] if others else [])
