"""CPUID leaves: names, places and meanings of their bits, from the tables in ``data/cpuid``.

A table has sections ``[leaf.subleaves register] source`` (hex leaf, decimal sub-leaves) and in
each a line for every bit or range: ``bits name meaning``, after a bar the named values
(``4:0 cache_type kind of cache | 1 data, 2 instructions``). Names are those that the vendors or
Linux give; a name is for good, because it is part of a field's path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layouts.data import data_text
from layouts.light import NamedTuple, cache
from layouts.vocabulary import Bits, Register

SOURCE = "Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E"
TABLES = ("features", "state", "platform", "amd", "others")

#: EAX of Hyper-V's second leaf, "Hv#1" (TLFS, hypervisor CPUID leaves).
HYPERV_INTERFACE = 0x31237648
KVM_SIGNATURE = b"KVMKVMKVM\0\0\0"
#: Where hypervisors' leaves begin, one block of 0x100 a hypervisor (the first at 0x40000000), and
#: which leaves of a block are known by its signature (EBX, ECX, EDX of its first leaf).
HYPERVISOR_LEAF = 0x4000_0000
HYPERVISOR_LEAVES = {KVM_SIGNATURE: (1, 0x10), b"VMwareVMware": (0x10,)}


class Section(NamedTuple):
    """One output register of a leaf, for the sub-leaves that it holds for."""

    leaf: int
    subleaves: range
    register: str
    source: str
    bits: tuple[Bits, ...]


def _section(head: str, lines: list[str]) -> Section:
    place, closed, source = head.removeprefix("[").partition("] ")
    numbers, _, register = place.partition(" ")
    leaf, dot, subleaves = numbers.partition(".")
    low, _, high = subleaves.partition("-")
    if not (closed and dot and source) or register not in ("eax", "ebx", "ecx", "edx"):
        raise ValueError(f"not [leaf.subleaves register] source: {head}")
    return Section(
        int(leaf, 16), range(int(low), int(high or low) + 1), register, source, tuple(_bits(line) for line in lines)
    )


def _bits(line: str) -> Bits:
    place, name, text = line.split(None, 2)
    high, _, low = place.partition(":")
    lsb = int(low or high)
    meaning, _, named = text.partition(" | ")
    values = dict(value.strip().split(" ", 1) for value in named.split(",")) if named else {}
    return Bits(name, lsb, int(high) - lsb + 1, meaning, {int(value): word for value, word in values.items()})


def _sections(table: str) -> Iterator[Section]:
    text = data_text(f"x86/data/cpuid/{table}.txt")
    head = ""
    lines: list[str] = []
    for line in (*text.splitlines(), "["):
        if line.startswith("["):
            if head:
                yield _section(head, lines)
            head, lines = line, []
        elif line and not line.startswith("#"):
            lines.append(line)


@cache
def cpuid_sections() -> dict[tuple[int, str], list[Section]]:
    """What is known of each output register of each leaf, by ``(leaf, register)``."""
    found: dict[tuple[int, str], list[Section]] = {}
    for table in TABLES:
        for section in _sections(table):
            found.setdefault((section.leaf, section.register), []).append(section)
    return found


def cpuid_register(leaf: int, subleaf: int, register: str) -> Register | None:
    """The bit names of one output register of one sub-leaf; ``register`` is ``eax`` and so on."""
    for section in cpuid_sections().get((leaf, register), ()):
        if subleaf in section.subleaves:
            name = f"CPUID.{leaf:X}H.{subleaf}:{register.upper()}"
            return Register(name, "CPUID output", section.bits, section.source)
    return None


def known_leaf(leaf: int, signatures: Mapping[int, bytes]) -> int | None:
    """The leaf whose names hold for ``leaf``; None where it belongs to a hypervisor whose leaves are not known.

    ``signatures`` are those of the hypervisor leaves that are there, by the leaf that has them.
    """
    if leaf >> 28 != HYPERVISOR_LEAF >> 28:
        return leaf
    base, number = leaf & ~0xFF, leaf & 0xFF
    if number in HYPERVISOR_LEAVES.get(signatures.get(base, b""), ()) or not number:
        return HYPERVISOR_LEAF + number
    return None


def kvm_base(rows: Mapping[tuple[int, int], tuple[int, int, int, int]]) -> int | None:
    """KVM's first leaf, which a guest with Hyper-V's has behind those; None where others' leaves alone are there.

    A table without a first leaf has them where KVM itself shows them. Source: Linux arch/x86/include/asm/processor.h,
    hypervisor_cpuid_base; QEMU target/i386/kvm/kvm.c, kvm_arch_init_vcpu.
    """
    if (HYPERVISOR_LEAF, 0) not in rows:
        return HYPERVISOR_LEAF
    for base in range(HYPERVISOR_LEAF, HYPERVISOR_LEAF + 0x10000, 0x100):
        row = rows.get((base, 0))
        if row is not None and b"".join(word.to_bytes(4, "little") for word in row[1:]) == KVM_SIGNATURE:
            return base
    return None
