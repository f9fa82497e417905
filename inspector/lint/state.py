"""What a rule looks at: one vCPU of a capture, field by field; nothing is decoded that no rule asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import Field, FieldTable


class State:
    """One vCPU. ``vmm`` is who will restore it, empty when nobody said."""

    def __init__(self, capture: Capture, vcpu: Vcpu, vmm: str = "") -> None:
        self.capture = capture
        self.vcpu = vcpu
        self.vmm = vmm

    @cached_property
    def tables(self) -> Sequence[FieldTable]:
        """The vCPU's areas as fields."""
        return [FieldTable(area) for area in self.vcpu.areas]

    def field(self, path: str) -> Field | None:
        """A field; None where the capture has no such field."""
        for table in self.tables:
            found = table.get(path)
            if found is not None:
                return found
        return None

    def number(self, path: str) -> int | None:
        """A field's value; None where it was not captured. ``path.BIT`` of a register is a bit."""
        found = self.field(path)
        if found is not None:
            return found.value
        for table in self.tables:
            bits = table.find(path) if "." in path else []
            if bits:
                return table.decode(bits[0]).value
        return None

    def areas(self, layout: str) -> Iterator[Area]:
        """The areas of a layout."""
        return (area for area in self.vcpu.areas if area.layout == layout)

    def cpuid(self, leaf: int, subleaf: int, register: str) -> int | None:
        """A register of the guest's CPUID; None where the capture has no CPUID, or no such leaf."""
        return self.number(f"cpuid.{leaf:x}.{subleaf:x}.{register}")
