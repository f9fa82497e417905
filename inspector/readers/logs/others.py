"""Registers that formats of their own print, where they are part of a log with more."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.readers import info_registers, kernel_oops
from inspector.readers.logs.found import Found, Line, State
from inspector.readers.named_values import named_area


def qemu(lines: Sequence[Line], file: str) -> Found:
    """QEMU's registers, as of a KVM internal error."""
    vcpus, notices = info_registers.cpus_of([line.text for line in lines], file)
    return Found([State(vcpu.name, vcpu.arch, vcpu.areas) for vcpu in vcpus], notices=notices)


def kernel(lines: Sequence[Line], file: str) -> Found:
    """The kernel's own registers: of an Oops, a warning, a task's trace."""
    dumps = kernel_oops.dumps_of(line.text for line in lines)
    return Found([State(dump.name, dump.arch, [named_area(dump.values, file, "kernel log")]) for dump in dumps])
