"""The first step of a guest: breakpoints, page tables level by level, and how an event is delivered."""

from __future__ import annotations

import struct

import pytest

from inspector.machine.x86.kvm.first_step import HANDLER, MISSING, STARTS, TRIPLE_FAULT, first_step
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.first_steps import CS, MEMORY, gate, segment, vcpu_of

PG, PSE, PAE, LA57 = 1 << 31, 1 << 4, 1 << 5, 1 << 12
SS, TR = 5, 6
NONE, PRESENT, USER, LARGE = 0, 1, 5, 0x81
M64 = (1 << 64) - 1


def paged(mode: str, entries: dict[int, int], **more: int) -> WholeVcpu:
    """A vCPU whose page tables have these entries, by address; the first table is at 0x4000."""
    vcpu = vcpu_of()
    vcpu.cr0, vcpu.cr3 = PG | 1, 0x4000 | more.pop("low_bits_of_cr3", 0)
    vcpu.cr4 = {"la57": PAE | LA57, "long": PAE, "pae": PAE, "pse": PSE, "legacy": 0}[mode]
    if mode not in ("la57", "long"):
        vcpu.efer = 0
        segment(vcpu, CS, l=0, base=0)
    for address, entry in entries.items():
        raw = entry.to_bytes(8 if vcpu.cr4 & PAE else 4, "little")
        vcpu.vm.memory[address : address + len(raw)] = raw  # type: ignore[index]
    return vcpu


# The first instruction


@pytest.mark.parametrize(
    ("cr4", "bit", "canonical"), [(0, 46, True), (0, 47, False), (LA57, 55, True), (LA57, 56, False)]
)
def test_rip_is_canonical(cr4: int, bit: int, canonical: bool) -> None:
    kind, vector = (STARTS, -1) if canonical else (HANDLER, 13)
    for rip in (1 << bit, M64 - (1 << bit)):
        vcpu = vcpu_of(rip=rip)
        vcpu.cr4 = cr4
        met = first_step(vcpu, -1)
        assert (met.kind, met.vector) == (kind, vector)
        vcpu.efer = 0
        assert first_step(vcpu, -1).kind == STARTS


@pytest.mark.parametrize("number", range(4))
def test_a_breakpoint_on_the_first_instruction(number: int) -> None:
    """Local or global, for execution (R/W 0), at the linear address; RFLAGS.RF passes over it."""
    for dr7, met in (
        (1 << 2 * number, True),
        (2 << 2 * number, True),
        (0x300 | 0xFF & ~(3 << 2 * number), False),
        (1 << 2 * number | 1 << 16 + 4 * number, False),
        (1 << 2 * number | 2 << 16 + 4 * number, False),
        (1 << 2 * number | 0xFFFF0000 & ~(3 << 16 + 4 * number), True),
    ):
        vcpu = vcpu_of()
        vcpu.debugregs.db[number], vcpu.debugregs.dr7 = 0x1000, dr7
        assert (first_step(vcpu, -1).vector == 1) is met, hex(dr7)
        vcpu.debugregs.db[number] = 0x1001
        assert first_step(vcpu, -1).kind == STARTS
    vcpu = vcpu_of(rflags=1 << 16 | 2)
    vcpu.debugregs.db[number], vcpu.debugregs.dr7 = 0x1000, 1 << 2 * number
    assert first_step(vcpu, -1).kind == STARTS
    vcpu = vcpu_of(rip=0x10)
    vcpu.efer = 0
    segment(vcpu, CS, base=0xFF0, l=0)
    vcpu.debugregs.db[number], vcpu.debugregs.dr7 = 0x1000, 1 << 2 * number
    assert first_step(vcpu, -1).vector == 1


@pytest.mark.parametrize(
    ("mode", "rip", "base"),
    [("long", 0x1000, 0x12345000), ("pae", 0x10, 0xFF0), ("pae", 0x1FF0, 0xFFFFF010), ("legacy", 0x10, 0xFF0)],
)
def test_the_base_of_cs_counts_outside_64_bit_mode(mode: str, rip: int, base: int) -> None:
    """The linear address is 0x1000, of which only the page table's second entry has a page."""
    size = 4 if mode == "legacy" else 8
    tables = {"long": 3, "pae": 2, "legacy": 1}[mode]
    entries = {0x4000 + 0x1000 * level: 0x5000 + 0x1000 * level | PRESENT for level in range(tables)}
    vcpu = paged(mode, entries | {0x4000 + 0x1000 * tables + size: PRESENT})
    vcpu.regs.set(struct.pack("<18Q", *[0] * 16, rip, 2))
    segment(vcpu, CS, base=base)
    assert first_step(vcpu, -1).kind == STARTS


# Page tables

#: By mode: shift and bits of each level's index.
LEVELS = {
    "la57": ((48, 9), (39, 9), (30, 9), (21, 9), (12, 9)),
    "long": ((39, 9), (30, 9), (21, 9), (12, 9)),
    "pae": ((30, 2), (21, 9), (12, 9)),
    "pse": ((22, 10), (12, 10)),
    "legacy": ((22, 10), (12, 10)),
}
MAY_BE_PAGE = {("la57", 30), ("la57", 21), ("long", 30), ("long", 21), ("pae", 21), ("pse", 22)}


def walk(mode: str, linear: int, flags: list[int], **more: int) -> str:
    """What a fetch at an address meets whose entries have these flags, each table behind the one before."""
    entries, table, size = {}, 0x4000, 4 if mode in ("pse", "legacy") else 8
    for level, ((shift, bits), flag) in enumerate(zip(LEVELS[mode], flags, strict=True)):
        # Bits that are no address: NX, and the ignored ones above 51.
        high = 0xFFF << 52 if size == 8 and mode != "pae" else 0
        entries[table + size * (linear >> shift & (1 << bits) - 1)] = 0x5000 + 0x1000 * level | flag | high
        table = 0x5000 + 0x1000 * level
    vcpu = paged(mode, entries, **more)
    vcpu.regs.set(struct.pack("<18Q", *[0] * 16, linear, 2))
    if more.get("user", 0):
        segment(vcpu, SS, dpl=more["user"])
    vcpu.idt = struct.pack("<QH6x", 0x800, 0)
    return first_step(vcpu, -1).kind


#: Each index is another one, with its lowest and its highest bit.
LINEAR = {
    "la57": 0x101 << 48 | 0x103 << 39 | 0x105 << 30 | 0x107 << 21 | 0x109 << 12 | 0xFE << 56,
    "long": 0x103 << 39 | 0x105 << 30 | 0x107 << 21 | 0x109 << 12 | 0xFFFF << 48,
    "pae": 3 << 30 | 0x107 << 21 | 0x109 << 12,
    "pse": 0x201 << 22 | 0x203 << 12,
    "legacy": 0x201 << 22 | 0x203 << 12,
}


@pytest.mark.parametrize("mode", LEVELS)
def test_each_level_of_page_tables(mode: str) -> None:
    linear = LINEAR[mode]
    levels = LEVELS[mode]
    present = [PRESENT] * len(levels)
    assert walk(mode, linear, present) == STARTS
    for level, (shift, _) in enumerate(levels):
        flags = [*present[:level], NONE, *present[level + 1 :]]
        assert walk(mode, linear, flags) == TRIPLE_FAULT, shift
        # A page above the last level ends the walk there.
        flags = present[:level] + [LARGE] + [NONE] * (len(levels) - level - 1)
        ends = (mode, shift) in MAY_BE_PAGE or shift == 12
        assert walk(mode, linear, flags) == (STARTS if ends else TRIPLE_FAULT), shift


@pytest.mark.parametrize("mode", LEVELS)
def test_user_code_needs_each_levels_user_bit(mode: str) -> None:
    """But a PDPTE of PAE has none: bit 2 is reserved."""
    linear, levels = LINEAR[mode], LEVELS[mode]
    user = [PRESENT if (mode, shift) == ("pae", 30) else USER for shift, _ in levels]
    assert walk(mode, linear, user, user=3) == STARTS
    for level in range(len(levels)):
        if user[level] == USER:
            flags = [*user[:level], PRESENT, *user[level + 1 :]]
            assert walk(mode, linear, flags, user=3) == TRIPLE_FAULT
            assert walk(mode, linear, flags, user=2) == STARTS


@pytest.mark.parametrize(("mode", "low"), [("long", 0xFFF), ("pae", 0x1F), ("legacy", 0xFFF)])
def test_low_bits_of_cr3_are_no_address(mode: str, low: int) -> None:
    assert walk(mode, LINEAR[mode], [PRESENT] * len(LEVELS[mode]), low_bits_of_cr3=low) == STARTS


def test_paes_first_table_is_at_32_bytes() -> None:
    vcpu = paged("pae", {0x4028: 0x5001, 0x5000: 0x81}, low_bits_of_cr3=0x20)
    vcpu.regs.set(struct.pack("<18Q", *[0] * 16, 1 << 30, 2))
    assert first_step(vcpu, -1).kind == STARTS


def test_page_tables_at_the_end_of_memory() -> None:
    for table, kind in ((MEMORY - 0x1000, STARTS), (MEMORY, MISSING)):
        vcpu = paged("pse", {})
        vcpu.vm.memory[MEMORY - 4 : MEMORY] = LARGE.to_bytes(4, "little")  # type: ignore[index]
        vcpu.cr3 = table
        vcpu.regs.set(struct.pack("<18Q", *[0] * 16, 0xFFC00000, 2))
        assert first_step(vcpu, -1).kind == kind


def test_smm_has_no_memory() -> None:
    vcpu = paged("long", {})
    vcpu.is_smm = True
    assert first_step(vcpu, -1).kind == MISSING
    vcpu.cr0 = 1
    assert first_step(vcpu, -1).kind == STARTS


# Delivery


@pytest.mark.parametrize("vector", [0, 8, 14, 255])
def test_a_gate_names_its_handler(vector: int) -> None:
    vcpu = vcpu_of()
    gate(vcpu, vector, 0x1234_5678_9ABC_DEF0)
    met = first_step(vcpu, vector)
    assert (met.kind, met.vector, met.rip) == (HANDLER, vector, 0x1234_5678_9ABC_DEF2)


@pytest.mark.parametrize(
    ("limit", "vector", "delivered"),
    [
        (0xFFFF, 0x10, 0x10),
        (0x10F, 0x10, 0x10),
        (0x11E, 0x11, 13),
        (0x11F, 0x11, 0x11),
        (0xDF, 0x30, 13),
        # #GP has no gate either: #DF. After #PF and what contributes, #GP is #DF at once (APM vol. 2, 8.2.9).
        (0xDE, 0x30, 8),
        (0x8F, 13, 8),
        (0xDF, 14, 8),
        (0x8F, 12, 8),
        (0x8F, 0x30, 8),
        (0x8E, 0x30, None),
        (0x8E, 8, None),
        (0, 0, None),
    ],
)
def test_vectors_beyond_the_idt(limit: int, vector: int, delivered: int | None) -> None:
    vcpu = vcpu_of()
    vcpu.idt = struct.pack("<QH6x", 0x800, limit)
    met = first_step(vcpu, vector)
    assert (met.kind, met.vector) == ((TRIPLE_FAULT, -1) if delivered is None else (HANDLER, delivered))


def pages(vcpu: WholeVcpu, *mapped: int) -> None:
    """4 KiB pages that are mapped one to one, and no other."""
    vcpu.cr0, vcpu.cr3, vcpu.cr4 = PG | 1, 0x4000, PAE
    tables = {
        0x4000: 0x5001,
        0x5000: 0x6001,
        0x6000: 0x7001,
        **{0x7000 + 8 * (page >> 12): page | 1 for page in mapped},
    }
    for address, entry in tables.items():
        vcpu.vm.memory[address : address + 8] = entry.to_bytes(8, "little")  # type: ignore[index]


@pytest.mark.parametrize(
    ("mapped", "reached"),
    [((0x1000, 0x2000), True), ((0x2000,), False), ((0x1000,), False), ((0, 0x2000), False)],
)
def test_the_gate_and_the_stack_are_mapped(mapped: tuple[int, ...], reached: bool) -> None:
    """The gate of vector 0x81 lies at 0x1010; what is pushed first lies below 0x2008."""
    vcpu = vcpu_of()
    pages(vcpu, *mapped)
    vcpu.regs.set(struct.pack("<18Q", *[0] * 6, 0x2008, *[0] * 9, 0x1000, 2))
    gate(vcpu, 0x81, 0x9000)
    assert (first_step(vcpu, 0x81).kind == HANDLER) is reached
    vcpu.regs.set(struct.pack("<18Q", *[0] * 6, 0x2007, *[0] * 9, 0x1000, 2))
    assert first_step(vcpu, 0x81).kind == TRIPLE_FAULT or 0x1000 in mapped


@pytest.mark.parametrize(
    ("rsp", "reached"), [(0, True), (7, True), (1 << 47, True), ((1 << 47) + 8, False), (M64 - (1 << 47), False)]
)
def test_the_stack_is_canonical(rsp: int, reached: bool) -> None:
    vcpu = vcpu_of()
    vcpu.regs.set(struct.pack("<18Q", *[0] * 6, rsp, *[0] * 9, 0x1000, 2))
    assert (first_step(vcpu, 3).kind == HANDLER) is reached


@pytest.mark.parametrize(("dpl", "reached"), [(0, True), (2, True), (3, False)])
def test_from_user_code_the_tss_names_the_stack(dpl: int, reached: bool) -> None:
    """RSP0 is at 4; it is not canonical here."""
    vcpu = vcpu_of()
    segment(vcpu, SS, dpl=dpl)
    segment(vcpu, TR, base=0x3000)
    vcpu.vm.memory[0x3000:0x3010] = struct.pack("<IQI", 0, 1 << 50, 0)  # type: ignore[index]
    assert (first_step(vcpu, 3).kind == HANDLER) is reached
    vcpu.vm.memory[0x3000:0x3010] = struct.pack("<IQI", M64 >> 32, 0x2000, M64 >> 32)  # type: ignore[index]
    assert first_step(vcpu, 3).kind == HANDLER
