"""The changed CPUID tables of section ``cpuid``, by the names that recordings give them (src/probe.c, s_cpuid)."""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.replay.restore.tables import ALL, INDEXED, Table, find, with_register, without
from layouts.light import partial

Change = Callable[[Table], Table]
_TOO_MANY = 600
_FILLED = 0x20000000


def _entry(leaf: int, subleaf: int = 0) -> Entry:
    return Entry(leaf, subleaf, int(leaf in INDEXED), 0, 0, 0, 0)


def _add(table: Table, leaf: int, subleaf: int = 0) -> Table:
    return table if find(table, leaf, subleaf) else (*table, _entry(leaf, subleaf))


def _put(table: Table, leaf: int, subleaf: int = 0, **changed: int) -> Table:
    """An entry with other values; added where it is missing."""
    table = _add(table, leaf, subleaf)
    found = find(table, leaf, subleaf)
    at = next(at for at, entry in enumerate(table) if entry is found)
    return (*table[:at], table[at]._replace(**changed), *table[at + 1 :])


def _or(table: Table, leaf: int, register: int, mask: int) -> Table:
    entry = find(table, leaf) or _entry(leaf)
    return with_register(table, leaf, 0, register, entry[3 + register] | mask)


def _clear(table: Table, leaf: int, register: int, bit: int) -> Table:
    entry = find(table, leaf)
    return with_register(table, leaf, 0, register, entry[3 + register] & ~(1 << bit)) if entry else table


def _copy(leaf: int, flip: int, table: Table) -> Table:
    entry = find(table, leaf)
    return (*table, entry._replace(eax=entry.eax ^ flip)) if entry else table


def _fill(count: int, table: Table) -> Table:
    while len(table) < count:
        table = (*table, _entry(_FILLED + len(table)))
    return table


def _all(table: Table, leaf: int, subleaf: int, *, flags: int | None = None) -> Table:
    table = _put(table, leaf, subleaf, eax=ALL, ebx=ALL, ecx=ALL, edx=ALL)
    return table if flags is None else _put(table, leaf, subleaf, flags=flags)


def _signature(text: bytes, table: Table) -> Table:
    ebx, ecx, edx = (int.from_bytes(text[at : at + 4], "little") for at in (0, 4, 8))
    return _put(table, 0x40000000, ebx=ebx, ecx=ecx, edx=edx)


def _moved(table: Table) -> Table:
    return tuple(e._replace(leaf=e.leaf + 0x100) if e.leaf >> 8 == 0x400000 else e for e in table)


def _no_range(first: int, last: int, table: Table) -> Table:
    return tuple(entry for entry in table if not first <= entry.leaf < last)


def _renumbered(table: Table, leaf: int, subleaf: int) -> Table:
    return tuple(e._replace(flags=1, subleaf=subleaf) if e is find(table, leaf) else e for e in table)


def _nothing(_table: Table) -> Table:
    return ()


def _same(table: Table) -> Table:
    return table


SPECIAL: dict[str, Change] = {
    "80000008.eax=0": lambda table: _put(table, 0x80000008, eax=0),
    "nent=0": _nothing,
    "nent=0xffffffff": lambda table: table * (_TOO_MANY // len(table) + 1),
    "dup first entry": lambda table: (*table, table[0]),
    "dup leaf 1 with other eax": partial(_copy, 1, 1),
    "dup leaf 7.0": partial(_copy, 7, 0),
    "reverse order": lambda table: table[::-1],
    **{f"fill to {count}": partial(_fill, count) for count in (80, 81, 100, 101, 255, 256, 257, 500)},
    "leaf7 flag significant off": lambda table: _put(table, 7, flags=0),
    "leaf1 flag significant on index 5": lambda table: _renumbered(table, 1, 5),
    "leaf1 flag stateful": lambda table: _put(table, 1, flags=2),
    "leaf1 flags all": lambda table: _put(table, 1, flags=ALL),
    "leaf1 padding ones": _same,
    "leafD.0 flag off": lambda table: _put(table, 0xD, flags=0) if find(table, 0xD) else table,
    "no D": lambda table: without(table, 0xD),
    "D.0 zero": lambda table: _put(table, 0xD, eax=0, edx=0) if find(table, 0xD) else table,
    "D.0 ones": lambda table: _put(table, 0xD, eax=ALL, edx=ALL),
    "D.1 ones": lambda table: _put(table, 0xD, 1, eax=ALL, ecx=ALL, edx=ALL),
    "D.0 ebx ecx wrong": lambda table: _put(table, 0xD, ebx=12345, ecx=54321),
    "max leaf 1": lambda table: _put(table, 0, eax=1),
    "max leaf 0": lambda table: _put(table, 0, eax=0),
    "no leaf 0": lambda table: without(table, 0),
    "no leaf 1": lambda table: without(table, 1),
    "no 80000000+": partial(_no_range, 0x80000000, 0x80000030),
    "no 40000000+": partial(_no_range, 0x40000000, 0x40000010),
    "kvm at 40000100": _moved,
    "40000000 Microsoft Hv": partial(_signature, b"Microsoft Hv"),
    "40000000 XenVMMXenVMM": partial(_signature, b"XenVMMXenVMM"),
    "40000001 all": lambda table: _put(table, 0x40000001, eax=ALL),
    "40000001 edx realtime": lambda table: _put(table, 0x40000001, edx=1),
    "40000003 ones with 40000001 Hv#1": lambda table: _all(_put(table, 0x40000001, eax=0x31237648), 0x40000003, 0),
    "leaf 40000005 Hv limits": lambda table: _put(table, 0x40000005, eax=ALL, ebx=1),
    "vendor zeros": lambda table: _put(table, 0, ebx=0, ecx=0, edx=0),
    "LM off": lambda table: _clear(table, 0x80000001, 3, 29),
    "apic off in leaf 1": lambda table: _clear(table, 1, 3, 9),
    "osxsave on": lambda table: _or(table, 1, 2, 1 << 27),
    "ospke on": lambda table: _or(table, 7, 2, 1 << 4),
    "family 15": lambda table: _put(table, 1, eax=0xF00),
    "sgx 12": lambda table: _all(_all(table, 0x12, 0, flags=1), 0x12, 1, flags=1),
    "pmu a full": lambda table: _put(table, 0xA, eax=0x07300802, edx=0x603),
    "pmu a ones": lambda table: _all(table, 0xA, 0),
    "80000022 ones": lambda table: _put(table, 0x80000022, eax=ALL, ebx=ALL),
}


def after_run(name: str, supported: Table) -> Table:
    """The tables of section ``arun``: changes of the supported one, the padding among them, which nobody compares.

    Raises ValueError.
    """
    match name:
        case "nent-1":
            return supported[:-1]
        case "one more entry":
            return _add(supported, _FILLED)
        case "reverse order":
            return supported[::-1]
        case "padding":
            return supported
    raise ValueError(f"no CPUID table {name!r} after a run")
