"""What recorded restores begin with: CPUID tables by their names, the guest's memory, what the keys of records hold."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.state import VmConfig
from inspector.machine.x86.replay.restore import shapes
from inspector.machine.x86.replay.restore.cpuid import differences
from inspector.machine.x86.replay.restore.guest_memory import MEMORY_SIZE_BYTES, own_memory, put_tables
from inspector.machine.x86.replay.restore.special_tables import SPECIAL, after_run
from inspector.machine.x86.replay.restore.tables import Table, Tables, entries_of, with_register, without

ALL = 0xFFFFFFFF
AMD = (0x68747541, 0x444D4163, 0x69746E65)
SUPPORTED: Table = (
    Entry(0, 0, 0, 0x10, *AMD),
    Entry(1, 0, 0, 0xA20F10, 0x800, 0x7ED8320F, 0x178BFBFF),
    Entry(7, 0, 1, 1, 2, 4, 8),
    Entry(7, 1, 1, 0, 0, 0, 0),
    Entry(0xD, 0, 1, 7, 0x340, 0x340, 0),
    Entry(0xD, 1, 1, 0xF, 0, 0, 0),
    Entry(0x40000000, 0, 0, 0x40000001, *AMD),
    Entry(0x40000001, 0, 0, 0x1234, 0, 0, 0),
    Entry(0x40000010, 0, 0, 1, 0, 0, 0),
    Entry(0x80000000, 0, 0, 0x80000021, *AMD),
    Entry(0x80000001, 0, 0, 0, 0, 0x4, 0x2FD3FBFF),
    Entry(0x80000008, 0, 0, 0x3030, 0, 0, 0),
)
HYPERV: Table = (Entry(0x40000000, 0, 0, 0x40000006, 1, 2, 3), Entry(0x40000006, 0, 0, 9, 0, 0, 0))
#: The name, the entries that are there no more, and those that are other or new.
MADE: dict[str, tuple[set[tuple[int, int]], list[Entry]]] = {
    "sup=noD": ({(0xD, 0), (0xD, 1)}, []),
    "sup=no40000000": ({(0x40000000, 0), (0x40000001, 0)}, []),
    "sup=40000001.0.eax.0": (set(), [Entry(0x40000001, 0, 0, 0, 0, 0, 0)]),
    "sup=pmu_a": (set(), [Entry(0xA, 0, 0, 0x07300802, 0, 0, 0x603)]),
    "sup=80000008.0.eax.pa36": (set(), [Entry(0x80000008, 0, 0, 0x3024, 0, 0, 0)]),
    "sup-7.0.ebx.1": (set(), [Entry(7, 0, 1, 1, 0, 4, 8)]),
    "sup+7.1.eax.4": (set(), [Entry(7, 1, 1, 0x10, 0, 0, 0)]),
    "sup+24.0.ebx.31": (set(), [Entry(0x24, 0, 0, 0, 1 << 31, 0, 0)]),
    "sup-svm-vmx": (set(), [SUPPORTED[1]._replace(ecx=0x7ED8320F & ~0x20), SUPPORTED[10]._replace(ecx=0)]),
    "hv": ({(0x40000001, 0), (0x40000010, 0), (0x40000000, 0)}, list(HYPERV)),
    "xvendor": (
        set(),
        [
            each._replace(ebx=0x756E6547, ecx=0x6C65746E, edx=0x49656E69)
            for each in SUPPORTED
            if each.leaf in (0, 0x80000000)
        ],
    ),
}


def by_place(table: Table) -> dict[tuple[int, int], Entry]:
    return {(each.leaf, each.subleaf): each for each in table}


@pytest.mark.parametrize("name", MADE)
def test_a_table_by_its_name(name: str) -> None:
    """A bit flipped, leaves left out, another vendor: the rest is as KVM supports it."""
    gone, other = MADE[name]
    made = Tables(SUPPORTED, HYPERV).named(name)
    kept = {place: each for place, each in by_place(SUPPORTED).items() if place not in gone}
    assert by_place(made) == {**kept, **by_place(tuple(other))}
    assert len(made) == len(by_place(made))


def test_the_smallest_table() -> None:
    """Leaves 0, 1 and their extended ones, with the features of a plain x86-64 as far as they are supported."""
    zero, one, *extended = Tables(SUPPORTED, ()).named("min")
    assert (zero, one) == (SUPPORTED[0]._replace(eax=1), Entry(1, 0, 0, 0xA20F10, 0, 0, 0x178BFBFF))
    assert extended == [
        Entry(0x80000000, 0, 0, 0x80000001, 0, 0, 0),
        Entry(0x80000001, 0, 0, 0, 0, 0, 0x20100800 & 0x2FD3FBFF),
    ]
    values = {0: 1, 1: 0, 0x80000000: 0x80000001, 0x80000001: 0}
    assert Tables((), ()).named("min") == tuple(Entry(leaf, 0, 0, eax, 0, 0, 0) for leaf, eax in values.items())


def test_tables_that_have_or_lack_what_is_changed() -> None:
    counters = (Entry(0xA, 0, 0, 1, 0, 0, 0),)
    assert Tables(counters, ()).named("sup=pmu_a") == counters
    assert Tables((), ()).named("sup=80000008.0.eax.pa36") == (Entry(0x80000008, 0, 0, 36, 0, 0, 0),)
    # The first of Hyper-V's entries is the one; KVM's leaves end before 0x40000100.
    kvm = (Entry(0x400000FF, 0, 0, 1, 0, 0, 0), Entry(0x40000100, 0, 0, 1, 0, 0, 0))
    assert Tables(kvm, (HYPERV[0], HYPERV[0]._replace(eax=1))).named("hv") == (kvm[1], HYPERV[0])


def test_every_feature_at_once() -> None:
    """Leaves that tell sizes stay; the highest leaves reach those that are added."""
    made = by_place(Tables(SUPPORTED, ()).named("allones"))
    assert (made[0, 0].eax, made[0x80000000, 0].eax) == (0x24, 0x80000022)
    assert made[0xD, 0] == SUPPORTED[4]
    assert (0x1E, 1) not in made
    assert (0xC0000001, 0) not in made
    assert made[7, 0].values == (1, ALL, ALL, ALL)
    assert made[0x80000022, 0] == Entry(0x80000022, 0, 0, ALL, 0, 0, 0)
    higher = tuple(each._replace(eax=each.eax | 0xFF) if each.leaf in (0, 0x80000000) else each for each in SUPPORTED)
    made = by_place(Tables(higher, ()).named("allones"))
    assert (made[0, 0].eax, made[0x80000000, 0].eax) == (0xFF, 0x800000FF)


def test_intels_table_becomes_amds() -> None:
    intel = (Entry(0, 0, 0, 1, 0x756E6547, 0x6C65746E, 0x49656E69), Entry(0x80000000, 0, 0, 0x80000008, 0, 0, 0))
    first, extended = Tables(intel, ()).named("xvendor")
    assert first == Entry(0, 0, 0, 1, AMD[0], AMD[1], AMD[2])
    assert extended == intel[1]


def test_rows_and_registers() -> None:
    assert entries_of([["d", "1", 1, "f", "10", "a0", "b"]]) == (Entry(0xD, 1, 1, 0xF, 0x10, 0xA0, 0xB),)
    assert with_register(SUPPORTED, 0xD, 1, 2, 5)[5] == SUPPORTED[5]._replace(ecx=5)
    assert with_register((), 0x14, 0, 1, 5) == (Entry(0x14, 0, 1, 0, 5, 0, 0),)
    assert without(SUPPORTED, 0xD) == (*SUPPORTED[:4], *SUPPORTED[6:])
    with pytest.raises(ValueError, match="no CPUID table 'sup=none'"):
        Tables(SUPPORTED, ()).named("sup=none")


#: Over SUPPORTED, by the recorder's words: the entries that are other or new; None: those that are not there.
CHANGED: dict[str, dict[tuple[int, int], Entry | None]] = {
    "40000000 Microsoft Hv": {
        (0x40000000, 0): Entry(0x40000000, 0, 0, 0x40000001, *struct.unpack("<3I", b"Microsoft Hv"))
    },
    "kvm at 40000100": {
        **{(leaf, 0): None for leaf in (0x40000000, 0x40000001, 0x40000010)},
        **{(each.leaf + 0x100, 0): each._replace(leaf=each.leaf + 0x100) for each in SUPPORTED[6:9]},
    },
    "no 40000000+": {(0x40000000, 0): None, (0x40000001, 0): None},
    "no 80000000+": {(each.leaf, 0): None for each in SUPPORTED[9:]},
    "leaf1 flag significant on index 5": {(1, 0): None, (1, 5): SUPPORTED[1]._replace(subleaf=5, flags=1)},
    "sgx 12": {(0x12, 0): Entry(0x12, 0, 1, ALL, ALL, ALL, ALL), (0x12, 1): Entry(0x12, 1, 1, ALL, ALL, ALL, ALL)},
    "pmu a ones": {(0xA, 0): Entry(0xA, 0, 0, ALL, ALL, ALL, ALL)},
    "D.1 ones": {(0xD, 1): Entry(0xD, 1, 1, ALL, 0, ALL, ALL)},
    "leaf 40000005 Hv limits": {(0x40000005, 0): Entry(0x40000005, 0, 0, ALL, 1, 0, 0)},
    "osxsave on": {(1, 0): SUPPORTED[1]._replace(ecx=0x7ED8320F | 1 << 27)},
}


@pytest.mark.parametrize("words", CHANGED)
def test_a_changed_table_by_its_words(words: str) -> None:
    made = by_place(SPECIAL[words](SUPPORTED))
    expected = {**by_place(SUPPORTED), **CHANGED[words]}
    assert made == {place: each for place, each in expected.items() if each}


def test_tables_with_more_entries() -> None:
    assert SPECIAL["dup leaf 1 with other eax"](SUPPORTED) == (*SUPPORTED, SUPPORTED[1]._replace(eax=0xA20F11))
    assert SPECIAL["dup leaf 7.0"](SUPPORTED) == (*SUPPORTED, SUPPORTED[2])
    filled = SPECIAL["fill to 80"](SUPPORTED)
    assert len(by_place(filled)) == 80
    assert filled[:12] == SUPPORTED
    assert {each[2:] for each in filled[12:]} == {(0,) * 5}
    assert after_run("nent-1", SUPPORTED) == SUPPORTED[:-1]
    # A leaf that is there already is not added.
    assert after_run("one more entry", after_run("one more entry", SUPPORTED))[12:] == (Entry(1 << 29, *(0,) * 6),)


def test_what_is_read_of_a_table() -> None:
    """Entry by entry; the leaf where another is; two tables of other lengths differ in everything."""
    other = (SUPPORTED[0], SUPPORTED[2], SUPPORTED[2]._replace(ebx=3, edx=0))
    assert differences(SUPPORTED[:3], other) == [
        ["1", "0", "key", "1.0.0", "7.0.1"],
        ["7", "0", "ebx", "2", "3"],
        ["7", "0", "edx", "8", "0"],
    ]
    found = differences(SUPPORTED, other)
    assert (found[0], len(found)) == (["nent", 12, 3], 1000)


# The guest's memory


def test_page_tables_map_the_memory_to_itself() -> None:
    """4 KiB tables of which the last maps 2 MiB: present and writable; PAE's PDPTE leads to the same."""
    vm = VmConfig()
    put_tables(vm)
    memory = vm.memory
    (pml4,), (pdpt,), (page,) = (struct.unpack_from("<Q", memory, at) for at in (0x1000, 0x2000, 0x3000))
    assert (pml4 & ~0xFFF, pml4 & 3, pdpt & ~0xFFF, pdpt & 3) == (0x2000, 3, 0x3000, 3)
    assert (page >> 12, page & 0x83) == (0, 0x83)
    assert struct.unpack_from("<4Q", memory, 0x8000) == (0x3001, 0, 0, 0)
    assert len(memory) == MEMORY_SIZE_BYTES


def test_descriptors_of_code_data_and_a_task() -> None:
    """The Intel SDM, vol. 3, 3.4.5 and 7.2.3: 64-bit code at 8, data at 16, a busy TSS at 24."""
    vm = VmConfig()
    put_tables(vm)
    null, code, data, task, upper = struct.unpack_from("<5Q", vm.memory, 0x6000)
    assert (null, upper) == (0, 0)
    # Present, a segment of code or data; 64-bit, limited by pages, accessed.
    assert (code >> 40 & 0xFF, code >> 52 & 0xF, code & 0xFFFF, code >> 48 & 0xF) == (0x9B, 0xA, 0xFFFF, 0xF)
    assert (data >> 40 & 0xFF, data >> 52 & 0xF, data & 0xFFFF, data >> 48 & 0xF) == (0x93, 0xC, 0xFFFF, 0xF)
    assert (task >> 40 & 0xFF, task & 0xFFFF, task >> 16 & 0xFFFFFF, task >> 48) == (0x8B, 0x67, 0x7000, 0)
    assert [each >> 16 & 0xFFFFFF | each >> 56 << 24 for each in (code, data)] == [0, 0]


def test_a_gate_and_a_handler_for_each_exception() -> None:
    """64-bit interrupt gates of code at 8; each handler tells its vector at port 16 and halts."""
    vm = VmConfig(memory=bytearray(MEMORY_SIZE_BYTES))
    put_tables(vm)
    memory = own_memory(vm)
    assert memory is vm.memory
    for vector in range(32):
        low, selector, kind, middle, high, rest = struct.unpack_from("<HHHHII", memory, 0x4000 + 16 * vector)
        address = 0x5000 + 16 * vector
        assert (selector, kind, rest, low | middle << 16 | high << 32) == (8, 0x8E00, 0, address)
        assert bytes(memory[address : address + 5]) == bytes((0xB0, vector, 0xE6, 16, 0xF4))
    assert not any(memory[0x4200:0x5000])


# Keys of records


@pytest.mark.parametrize(
    ("held", "is_hex"),
    [
        ("f" * 16, True),
        ("0", True),
        ("1" + "0" * 16, False),
        ("g", False),
        (7, False),
        ("-1", False),
        ("h" * 70, False),
    ],
)
def test_hexadecimal_digits_of_64_bits(held: Any, is_hex: bool) -> None:
    records = [{"op": "one"}, {"op": "other", "quirks": held}]
    if is_hex:
        shapes.check("f", records)
        return
    with pytest.raises(InputError) as error:
        shapes.check("f", records)
    assert str(error.value).startswith("f: record 2, other: ")
    assert str(error.value).endswith(repr(held)[:60])
