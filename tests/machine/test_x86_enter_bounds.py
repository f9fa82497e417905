"""KVM_RUN on AMD over the state that a VMM set: what it says, and what the guest's first step meets."""

from __future__ import annotations

import errno
import struct

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.enter import RunAnswer, run
from inspector.machine.x86.kvm.first_step import HANDLER, MISSING, STARTS, TRIPLE_FAULT, first_step
from inspector.machine.x86.kvm.module import SVM, Kvm
from inspector.machine.x86.kvm.segments import Segment
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from layouts.x86.kernels import profile_for

PG, PSE, PAE, LA57, LMA = 1 << 31, 1 << 4, 1 << 5, 1 << 12, 0x500
CS, SS, TR = 0, 5, 6
EXIT_SHUTDOWN, EXIT_FAIL_ENTRY, EXIT_INTR, EXIT_INTERNAL = 8, 9, 10, 17
MEMORY = 0x20000
NONE, PRESENT, USER, LARGE = 0, 1, 5, 0x81
M64 = (1 << 64) - 1


def vcpu_of(release: str = "6.12", *, rip: int = 0x1000, rflags: int = 2, **parameters: str) -> WholeVcpu:
    """A vCPU in 64-bit mode without paging turned on, its IDT at 0x800 and its stack at 0x2000."""
    kvm = Kvm(Host(Cpuid({}), profile_for(release)), release=release, vendor=SVM, parameters=parameters)
    vcpu = WholeVcpu(kvm, VmConfig(memory=bytearray(MEMORY)))
    vcpu.cr0, vcpu.efer = 0x11, LMA
    segment(vcpu, CS, l=1)
    vcpu.idt = struct.pack("<QH6x", 0x800, 0xFFF)
    vcpu.regs.set(struct.pack("<18Q", *[0] * 6, 0x2000, *[0] * 9, rip, rflags))
    return vcpu


def segment(vcpu: WholeVcpu, number: int, **fields: int) -> None:
    """Fields of a segment's are others."""
    images = list(vcpu.segments)
    images[number] = Segment.of(images[number])._replace(**fields).image()
    vcpu.segments = tuple(images)


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


# What KVM_RUN says before the guest runs


def told(answer: RunAnswer) -> tuple[int, ...]:
    return answer.code, answer.exit_reason, answer.suberror, answer.words, answer.hardware, answer.vector, answer.rip


def test_a_vcpu_that_waits_or_that_has_faulted_three_times() -> None:
    vcpu = vcpu_of()
    vcpu.mp_state = 3
    assert told(run(vcpu)) == (errno.EINTR, EXIT_INTR, 0, 0, 0, -1, 0x1000)
    vcpu = vcpu_of()
    vcpu.pending.triple_fault = True
    assert told(run(vcpu)) == (0, EXIT_SHUTDOWN, 0, 0, 0, -1, 0x1000)


@pytest.mark.parametrize(("release", "words"), [("5.15", 0), ("5.16", 6), ("6.1", 6)])
def test_the_smis_code_is_not_in_memory(release: str, words: int) -> None:
    vcpu = vcpu_of(release)
    vcpu.pending.smi_pending = True
    assert told(run(vcpu)) == (0, EXIT_INTERNAL, 1, words, 0, -1, 0x8000)


@pytest.mark.parametrize(("release", "dies"), [("6.1", False), ("6.2", True), ("6.12", True)])
def test_the_vm_is_dead_of_an_smi_from_6_2_on(release: str, dies: bool) -> None:
    vcpu = vcpu_of(release)
    vcpu.pending.smi_pending = True
    assert (run(vcpu).code == errno.EIO) is dies


@pytest.mark.parametrize(
    ("cr0", "efer", "base", "rip", "at"),
    [
        # The reset vector, in real mode; then code outside memory, in real mode and not in long mode.
        (0, 0, 0, 0xFFF0, 0xFFF0),
        (1, 0, 0, 0xFFF0, None),
        (0, 0, MEMORY - 0x10, 0xF, None),
        (0, 0, MEMORY - 0x10, 0x10, -1),
        (0, 0, 0, MEMORY, -1),
        (1, 0, 0, MEMORY, None),
        (0, LMA, 0, MEMORY, None),
        (2, 0, 0, MEMORY, -1),
    ],
)
def test_code_that_is_not_in_memory(cr0: int, efer: int, base: int, rip: int, at: int | None) -> None:
    vcpu = vcpu_of(rip=rip)
    vcpu.cr0, vcpu.efer = cr0, efer
    segment(vcpu, CS, base=base)
    expected = (0, 0, 0, 0, 0, -1, rip) if at is None else (0, EXIT_INTERNAL, 1, 6, 0, -1, at)
    assert told(run(vcpu)) == expected


@pytest.mark.parametrize(
    ("release", "hardware"), [("6.12", 0xFFFFFFFF), ("6.19", 0xFFFFFFFF), ("7.0", M64), ("7.3", M64)]
)
def test_an_entry_that_fails_tells_all_bits(release: str, hardware: int) -> None:
    """SVM_EXIT_ERR is -1: of 32 bits until 7.0."""
    vcpu = vcpu_of(release)
    segment(vcpu, CS, db=1)
    assert told(run(vcpu)) == (0, EXIT_FAIL_ENTRY, 0, 0, hardware, -1, -1)
    vcpu.efer = 0
    assert run(vcpu).enters
    vcpu = vcpu_of(release)
    vcpu.pending.injected, vcpu.pending.vector = True, 31
    assert told(run(vcpu)) == (0, EXIT_FAIL_ENTRY, 0, 0, hardware, -1, -1)
    vcpu.pending.vector = 30
    assert run(vcpu).vector == 30


@pytest.mark.parametrize(("efer", "rflags", "shuts_down"), [(LMA, 1 << 17, True), (0, 1 << 17, False), (LMA, 2, False)])
def test_virtual_8086_mode_is_not_for_long_mode(efer: int, rflags: int, shuts_down: bool) -> None:
    vcpu = vcpu_of(rflags=rflags)
    vcpu.efer = efer
    answer = run(vcpu)
    assert (answer.exit_reason == EXIT_SHUTDOWN) is shuts_down
    if shuts_down:
        # The VMCB is lost: INIT.
        assert (answer.rip, vcpu.regs.rip, vcpu.cr0, vcpu.efer) == (0xFFF0, 0xFFF0, 0x10, 0)


@pytest.mark.parametrize(
    ("pending", "release", "vector"),
    [
        ({}, "6.12", -1),
        ({"injected": True, "vector": 0}, "6.12", 0),
        ({"injected": True, "vector": 14, "nmi_pending": True}, "6.12", 14),
        # svm_complete_interrupts: of software, from 6.0 on for interrupts.
        ({"injected": True, "vector": 3}, "6.12", -1),
        ({"injected": True, "vector": 4}, "6.12", -1),
        ({"injected": True, "vector": 5}, "6.12", 5),
        ({"nmi_injected": True}, "6.12", 2),
        ({"nmi_pending": True}, "6.12", 2),
        ({"nmi_queued": True}, "6.12", 2),
        ({"interrupt_injected": True, "interrupt_vector": 0x31}, "6.12", 0x31),
        ({"interrupt_injected": True, "interrupt_vector": 0x31, "interrupt_soft": True}, "6.0", -1),
        ({"interrupt_injected": True, "interrupt_vector": 0x31, "interrupt_soft": True}, "5.19", 0x31),
    ],
)
def test_which_event_is_injected(pending: dict[str, int], release: str, vector: int) -> None:
    vcpu = vcpu_of(release)
    for name, value in pending.items():
        setattr(vcpu.pending, name, value)
    gate(vcpu, max(vector, 0), 0x10_0000_9000)
    answer = run(vcpu)
    assert answer.enters
    assert (answer.vector, answer.rip) == ((-1, 0x1000) if vector < 0 else (vector, 0x10_0000_9002))
    assert ("is not injected again" in answer.because) is (vector < 0 and bool(pending))


@pytest.mark.parametrize(("release", "rip"), [("6.5", 0x1000), ("6.6", 0xFFF0), ("7.2", 0xFFF0)])
def test_shadow_paging_needs_page_tables_until_6_6(release: str, rip: int) -> None:
    """mmu_check_root; from 6.6 on the root is a page of zeroes."""
    vcpu = vcpu_of(release, npt="N")
    vcpu.cr0, vcpu.cr3 = PG | 1, 1 << 30
    assert told(run(vcpu)) == (0, EXIT_SHUTDOWN, 0, 0, 0, -1, rip)


@pytest.mark.parametrize(
    ("release", "vector", "is_told"),
    [
        ("6.13", None, False),
        ("6.14", None, True),
        ("6.19", None, True),
        ("7.0", None, False),
        ("6.13", 14, False),
        ("7.0", 14, True),
        ("7.2", 0, True),
    ],
)
def test_page_tables_outside_memory(release: str, vector: int | None, is_told: bool) -> None:
    """Nothing is emulated while an event is delivered from 6.14 on; from 7.0 on a second fault is asked that first."""
    vcpu = vcpu_of(release)
    vcpu.cr0, vcpu.cr3 = PG | 1, 1 << 30
    if vector is not None:
        vcpu.pending.injected, vcpu.pending.vector = True, vector
    expected = (0, EXIT_INTERNAL, 3, 5) if is_told else (errno.EINTR, EXIT_INTR, 0, 0)
    assert told(run(vcpu)) == (*expected, 0, -1, 0x1000)


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


def gate(vcpu: WholeVcpu, vector: int, handler: int, base: int = 0x800) -> None:
    low = handler & 0xFFFF | 0xABCD << 16 | 0x8E00 << 32 | (handler >> 16 & 0xFFFF) << 48
    at = base + 16 * vector
    vcpu.vm.memory[at : at + 16] = struct.pack("<QQ", low, handler >> 32)  # type: ignore[index]


@pytest.mark.parametrize("vector", [0, 8, 14, 255])
def test_a_gate_names_its_handler(vector: int) -> None:
    vcpu = vcpu_of()
    gate(vcpu, vector, 0x1234_5678_9ABC_DEF0)
    met = first_step(vcpu, vector)
    assert (met.kind, met.vector, met.rip) == (HANDLER, vector, 0x1234_5678_9ABC_DEF2)


@pytest.mark.parametrize(
    ("limit", "vector", "delivered"),
    [
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
