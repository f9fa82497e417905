"""CPUID tables by the names that recordings give them, made as the recorder makes them (src/probe.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from inspector.machine.x86.kvm.guest_cpuid import Entry

Table = tuple[Entry, ...]
ALL = 0xFFFFFFFF
#: The feature registers of which the recorder flips every bit (FR): leaf, sub-leaf, register.
FEATURE_REGISTERS = (
    *((1, 0, 2), (1, 0, 3), (6, 0, 0), (6, 0, 2), (7, 0, 1), (7, 0, 2), (7, 0, 3), (7, 1, 0), (7, 1, 1), (7, 1, 2)),
    *((7, 1, 3), (7, 2, 3), (0xD, 0, 0), (0xD, 1, 0), (0xD, 1, 2), (0x14, 0, 1), (0x14, 0, 2), (0x1E, 1, 0)),
    *((0x24, 0, 1), (0x40000001, 0, 0), (0x80000001, 0, 2), (0x80000001, 0, 3), (0x80000007, 0, 1)),
    *((0x80000007, 0, 3), (0x80000008, 0, 1), (0x8000000A, 0, 3), (0x8000001F, 0, 0), (0x80000021, 0, 0)),
    *((0x80000021, 0, 2), (0x80000022, 0, 0), (0xC0000001, 0, 3)),
)
REGISTER_NAMES = ("eax", "ebx", "ecx", "edx")
INDEXED = frozenset((7, 0xD, 4, 0xB, 0x8000001D, 0x14, 0x1F))
_AMD_EBX = 0x68747541
_BIT = re.compile(r"sup([-+])([0-9a-f]+)\.([0-9a-f]+)\.(e[abcd]x)\.(\d+)")


def entries_of(rows: Iterable[Sequence[Any]]) -> Table:
    """Recorded rows: function, index, flags, four registers."""
    return tuple(
        Entry(int(row[0], 16), int(row[1], 16), int(row[2]), *(int(value, 16) for value in row[3:7])) for row in rows
    )


def find(table: Table, function: int, index: int = 0) -> Entry | None:
    """The first entry with this function and index."""
    return next((entry for entry in table if entry.leaf == function and entry.subleaf == index), None)


def with_register(table: Table, function: int, index: int, register: int, value: int) -> Table:
    """The table with a register changed; an entry that it lacks is added at its end."""
    found = find(table, function, index)
    if found is None:
        found = Entry(function, index, int(function in INDEXED), 0, 0, 0, 0)
        table = (*table, found)
    changed = found._replace(**{REGISTER_NAMES[register]: value})
    at = table.index(found)
    return (*table[:at], changed, *table[at + 1 :])


def without(table: Table, function: int) -> Table:
    """The table without a leaf."""
    return tuple(entry for entry in table if entry.leaf != function)


class Tables:
    """The tables of one recording, from its supported and its Hyper-V entries."""

    def __init__(self, supported: Table, hyperv: Table) -> None:
        self.supported = supported
        self.hyperv = hyperv
        self._made: dict[str, Table] = {"sup": supported}

    def named(self, name: str) -> Table:
        """A table by its recorded name. Raises ValueError."""
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = self._make(name)
        return found

    def flipped(self, function: int, index: int, register: int, bit: int) -> Table:
        """The supported table with one bit changed (bitcp)."""
        entry = find(self.supported, function, index)
        value = entry[3 + register] if entry else 0
        return with_register(self.supported, function, index, register, value ^ 1 << bit)

    def _make(self, name: str) -> Table:
        makers = {"min": self._min, "hv": self._hv, "xvendor": self._xvendor, "allones": self._allones}
        if name in makers:
            return makers[name]()
        if found := _BIT.fullmatch(name):
            _, function, index, register, bit = found.groups()
            return self.flipped(int(function, 16), int(index, 16), REGISTER_NAMES.index(register), int(bit))
        sup = self.supported
        match name.split("="):
            case ["sup", "noD"]:
                return without(sup, 0xD)
            case ["sup", "no40000000"]:
                return tuple(e for e in sup if not 0x40000000 <= e.leaf < 0x40000010)
            case ["sup", "40000001.0.eax.0"]:
                return with_register(sup, 0x40000001, 0, 0, 0)
            case ["sup", "pmu_a"]:
                entry = find(sup, 0xA)
                if entry is not None and entry.eax:
                    return sup
                return with_register(with_register(sup, 0xA, 0, 0, 0x07300802), 0xA, 0, 3, 0x603)
            case ["sup", width] if width.startswith("80000008.0.eax.pa"):
                entry = find(sup, 0x80000008)
                bits = int(width.rpartition("pa")[2])
                return with_register(sup, 0x80000008, 0, 0, (entry.eax & ~0xFF if entry else 0) | bits)
        if name == "sup-svm-vmx":
            made = sup
            for function, register, bit in ((0x80000001, 2, 2), (1, 2, 5)):
                entry = find(made, function)
                if entry is not None:
                    made = with_register(made, function, 0, register, entry[3 + register] & ~(1 << bit))
            return made
        raise ValueError(f"no CPUID table {name!r}")

    def _min(self) -> Table:
        zero, one, extended = (find(self.supported, function) for function in (0, 1, 0x80000001))
        made: Table = (zero._replace(eax=1) if zero else Entry(0, 0, 0, 1, 0, 0, 0),)
        made += (Entry(1, 0, 0, one.eax, 0, 0, 0x178BFBFF & one.edx) if one else Entry(1, 0, 0, 0, 0, 0, 0),)
        made += (Entry(0x80000000, 0, 0, 0x80000001, 0, 0, 0),)
        return (*made, Entry(0x80000001, 0, 0, 0, 0, 0, extended.edx & 0x20100800 if extended else 0))

    def _hv(self) -> Table:
        made = tuple(e for e in self.supported if not 0x40000000 <= e.leaf < 0x40000100)
        for entry in self.hyperv:
            found = find(made, entry.leaf)
            made = (*(e for e in made if e is not found), entry) if found is None else made
        return made

    def _xvendor(self) -> Table:
        zero = find(self.supported, 0)
        vendor = b"GenuineIntel" if zero is not None and zero.ebx == _AMD_EBX else b"AuthenticAMD"
        ebx, edx, ecx = (int.from_bytes(vendor[at : at + 4], "little") for at in (0, 4, 8))
        made = []
        for entry in self.supported:
            is_first = entry.leaf == 0 and entry.subleaf == 0
            if is_first or (entry.leaf == 0x80000000 and entry.ebx):
                entry = entry._replace(ebx=ebx, ecx=ecx, edx=edx)
            made.append(entry)
        return tuple(made)

    def _allones(self) -> Table:
        made = self.supported
        for function, index, register in FEATURE_REGISTERS:
            if function not in (0xD, 0xC0000001, 0x1E):
                made = with_register(made, function, index, register, ALL)
        zero, extended = find(made, 0), find(made, 0x80000000)
        if zero is not None and zero.eax < 0x24:
            made = with_register(made, 0, 0, 0, 0x24)
        if extended is not None and extended.eax < 0x80000022:
            made = with_register(made, 0x80000000, 0, 0, 0x80000022)
        return made
