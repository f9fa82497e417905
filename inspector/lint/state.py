"""What a rule looks at: one vCPU of a capture, field by field; nothing is decoded that no rule asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.capture.host import Cpuid
from inspector.capture.model import Area, Capture, Vcpu
from inspector.decode.fields import NOT_CAPTURED, Field, FieldTable
from layouts.light import cached_property
from layouts.vocabulary import Bits
from layouts.x86.cpuid import HYPERVISOR_LEAF, cpuid_register, kvm_base
from layouts.x86.kvm_counted import KVM_CPUID2, cpuid2_unpack


class State:
    """One vCPU. ``vmm`` is who will restore it, empty when nobody said."""

    def __init__(self, capture: Capture, vcpu: Vcpu, vmm: str = "") -> None:
        self.capture = capture
        self.vcpu = vcpu
        self.vmm = vmm
        self._fields: dict[str, Field | None] = {}

    @cached_property
    def tables(self) -> Sequence[FieldTable]:
        """The vCPU's areas as fields."""
        return [FieldTable(area) for area in self.vcpu.areas]

    def field(self, path: str) -> Field | None:
        """A field; None where the capture has no such field."""
        if path not in self._fields:
            self._fields[path] = next((found for table in self.tables if (found := table.get(path))), None)
        return self._fields[path]

    def number(self, path: str) -> int | None:
        """A field's value; None where it was not captured."""
        found = self.field(path)
        return found.value if found is not None else None

    def hex(self, path: str) -> str:
        """A field's value for evidence."""
        value = self.number(path)
        return NOT_CAPTURED if value is None else hex(value)

    def numbers(self, *paths: str) -> tuple[int, ...] | None:
        """Some fields' values; None where one of them was not captured."""
        values = [value for path in paths if (value := self.number(path)) is not None]
        return tuple(values) if len(values) == len(paths) else None

    def bits(self, path: str) -> Bits | None:
        """Where a bit lies, by ``REGISTER.BIT``; None where the capture has no such register."""
        head, _, name = path.rpartition(".")
        field = self.field(head)
        register = field.spec.register if field is not None else None
        return next((bits for bits in register.bits if bits.name == name), None) if register is not None else None

    def bit(self, path: str) -> int | None:
        """A bit, or a range of bits, by ``REGISTER.BIT``; None where it was not captured."""
        value, bits = self.number(path.rpartition(".")[0]), self.bits(path)
        return bits.get(value) if value is not None and bits is not None else None

    def areas(self, *layouts: str) -> Iterator[Area]:
        """The areas of some layouts."""
        return (area for area in self.vcpu.areas if area.layout in layouts)

    def has(self, *layouts: str) -> bool:
        """Every one of these layouts is there."""
        return all(any(self.areas(layout)) for layout in layouts)

    @property
    def is_restorable(self) -> bool:
        """What a VMM gives back to KVM: segments and control registers, MSRs, and the CPUID table that rules them."""
        return self.has("kvm-sregs", "kvm-msrs") and bool(self.cpuid)

    @cached_property
    def cpuid_entries(self) -> list[tuple[int, ...]]:
        """The guest's CPUID as it lies: function, index, flags, eax, ebx, ecx, edx."""
        return [entry for area in self.areas(KVM_CPUID2.name) for entry in cpuid2_unpack(area.data)]

    @cached_property
    def cpuid(self) -> Cpuid:
        """The guest's CPUID; empty where the capture has none, or a part (a trace has what the guest asked for).

        Of entries that repeat, the first, as KVM takes it.
        """
        leaves: dict[tuple[int, int], tuple[int, int, int, int]] = {}
        for function, index, _, eax, ebx, ecx, edx in self.cpuid_entries:
            leaves.setdefault((function, index), (eax, ebx, ecx, edx))
        return Cpuid(leaves if (0, 0) in leaves else {})

    def leaf(self, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
        """A sub-leaf of the guest's CPUID, zeros where the table has none."""
        return self.cpuid.get(leaf, subleaf) or (0, 0, 0, 0)

    def feature(self, place: str) -> bool | None:
        """A bit of the guest's CPUID, as ``7.0.ebx.smep``; None where no CPUID was captured."""
        return None if not self.cpuid else bool(self.cpuid_range(place))

    def cpuid_range(self, place: str) -> int:
        """A range of bits of the guest's CPUID, as ``80000008.0.eax.phys_addr_bits``; 0 where it is not there."""
        leaf, subleaf, register, name = place.split(".")
        declared = cpuid_register(int(leaf, 16), int(subleaf), register)
        assert declared is not None, place
        number = int(leaf, 16)
        if number >> 8 == HYPERVISOR_LEAF >> 8:
            base = kvm_base(self.cpuid.leaves)
            if base is None:
                return 0
            number += base - HYPERVISOR_LEAF
        value = self.leaf(number, int(subleaf))[["eax", "ebx", "ecx", "edx"].index(register)]
        return declared.field(name).get(value)

    @property
    def physical_bits(self) -> int | None:
        """MAXPHYADDR of the guest: leaf 0x80000008, 36 without it (cpuid_query_maxphyaddr); None without CPUID."""
        return (self.leaf(0x8000_0008)[0] & 0xFF or 36) if self.cpuid else None
