"""The first step of a guest in paged or flat memory: the event's handler, or the instruction at RIP.

Source: AMD APM vol. 2, chapters 5 (paging) and 8 (exceptions); Intel SDM vol. 3, chapters 4 and 6.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from inspector.machine.x86.kvm.segments import Segment

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

STARTS, HANDLER, TRIPLE_FAULT, MISSING = "starts", "handler", "triple fault", "missing"
DB, DF, GP, PF = 1, 8, 13, 14
#: Exceptions whose delivery ends in #DF where it is #GP (#DE, #TS, #NP, #SS, #GP, #PF); after others #GP is delivered.
_DOUBLE_WITH_GP = (0, 10, 11, 12, GP, PF)
_CR0_PG, _CR4_PSE, _CR4_PAE, _CR4_LA57, _EFER_LMA = 1 << 31, 1 << 4, 1 << 5, 1 << 12, 0x400
_RFLAGS_RF = 1 << 16
_PRESENT, _USER, _LARGE = 1, 4, 0x80
_GATE_SIZE_BYTES = 16
_CS, _SS, _TR = 0, 5, 6
#: What the handlers of the tests' guest begin with: MOV AL, vector; RIP is told at the OUT behind it.
_MOV_SIZE_BYTES = 2


class _Level(NamedTuple):
    """A level of page tables: where its index stands in an address, whether an entry may be a page or says who may."""

    shift: int
    index_mask: int
    may_be_page: bool = False
    has_user_bit: bool = True


_TABLES_OF_8 = (_Level(21, 511, may_be_page=True), _Level(12, 511))
_LONG = (_Level(39, 511), _Level(30, 511, may_be_page=True), *_TABLES_OF_8)
_LONG_5 = (_Level(48, 511), *_LONG)
#: A PDPTE of PAE is never a page, and bit 2 is reserved in it.
_PAE = (_Level(30, 3, has_user_bit=False), *_TABLES_OF_8)
_LEGACY, _LEGACY_PSE = ((_Level(22, 1023, may_be_page), _Level(12, 1023)) for may_be_page in (False, True))


class Met(NamedTuple):
    """What the guest meets first, and for a handler its vector and where it is at its first exit."""

    kind: str
    because: str
    vector: int = -1
    rip: int = 0


class _OutsideError(Exception):
    """A page table is not in the guest's memory."""


def first_step(vcpu: WholeVcpu, vector: int) -> Met:
    """The handler of ``vector``, or where that is negative, the instruction at RIP."""
    try:
        if vector >= 0:
            return _deliver(vcpu, vector, "an event is injected")
        return _fetch(vcpu)
    except _OutsideError:
        return Met(MISSING, "the page tables are not in memory: each access to them is another exit")


def _fetch(vcpu: WholeVcpu) -> Met:
    rip = vcpu.regs.rip
    is_64 = bool(vcpu.efer & _EFER_LMA and _segment(vcpu, _CS).l)
    if is_64 and not _is_canonical(vcpu, rip):
        return _deliver(vcpu, GP, "RIP is not canonical")
    linear = rip if is_64 else _segment(vcpu, _CS).base + rip & 0xFFFFFFFF
    if _has_breakpoint(vcpu, linear):
        return _deliver(vcpu, DB, "a breakpoint is on the first instruction")
    if not _is_mapped(vcpu, linear, user=_is_user(vcpu)):
        return _deliver(vcpu, PF, "the first instruction is not mapped")
    return Met(STARTS, "the instruction at RIP runs")


def _has_breakpoint(vcpu: WholeVcpu, linear: int) -> bool:
    """DR7 turns one on for execution at this address; RFLAGS.RF passes over it once."""
    dr7 = vcpu.debugregs.dr7
    return not vcpu.regs.rflags & _RFLAGS_RF and any(
        dr7 >> 2 * number & 3 and not dr7 >> 16 + 4 * number & 3 and address == linear
        for number, address in enumerate(vcpu.debugregs.db)
    )


def _segment(vcpu: WholeVcpu, number: int) -> Segment:
    return Segment.of(vcpu.segments[number])


def _is_user(vcpu: WholeVcpu) -> bool:
    """The CPL on AMD is SS's DPL (svm_set_segment)."""
    return _segment(vcpu, _SS).dpl == 3


def _is_canonical(vcpu: WholeVcpu, address: int) -> bool:
    highest = 56 if vcpu.cr4 & _CR4_LA57 else 47
    return address >> highest in (0, (1 << 64 - highest) - 1)


def _deliver(vcpu: WholeVcpu, vector: int, because: str) -> Met:
    """Through the IDT of long mode; from CPL 3 on the stack that the TSS names."""
    base, limit = struct.unpack_from("<QH", vcpu.idt)
    at = vector * _GATE_SIZE_BYTES
    if at + _GATE_SIZE_BYTES - 1 > limit:
        if vector == DF:
            return Met(TRIPLE_FAULT, f"{because}: the IDT has no gate")
        return _deliver(vcpu, DF if vector in _DOUBLE_WITH_GP else GP, f"vector {vector} is beyond the IDT")
    stack = vcpu.regs.rsp
    if _is_user(vcpu):
        stack = _memory(vcpu, _segment(vcpu, _TR).base + 4, 8)
    pushed = stack - 8 & (1 << 64) - 1
    if not _is_mapped(vcpu, base + at) or not _is_canonical(vcpu, pushed) or not _is_mapped(vcpu, pushed):
        return Met(TRIPLE_FAULT, f"{because}: neither its handler nor that of #DF is reached")
    gate = _memory(vcpu, base + at, _GATE_SIZE_BYTES)
    handler = gate & 0xFFFF | gate >> 32 & 0xFFFFFFFFFFFF0000
    return Met(HANDLER, because, vector, handler + _MOV_SIZE_BYTES)


def _memory(vcpu: WholeVcpu, address: int, size: int) -> int:
    raw = vcpu.vm.memory[address : address + size]
    if len(raw) < size:
        raise _OutsideError
    return int.from_bytes(raw, "little")


def _is_mapped(vcpu: WholeVcpu, linear: int, *, user: bool = False) -> bool:
    """Walk the guest's page tables; user code needs the user bit of each level that has one."""
    if not vcpu.cr0 & _CR0_PG:
        return True
    if vcpu.is_smm:
        # SMM has memory of its own, and the VMM gave none.
        raise _OutsideError
    levels, size, table = _levels(vcpu)
    for level in levels:
        entry = _memory(vcpu, table + size * (linear >> level.shift & level.index_mask), size)
        if not entry & _PRESENT or (user and level.has_user_bit and not entry & _USER):
            return False
        if entry & _LARGE and level.may_be_page:
            return True
        table = entry & 0xFFFFFFFFFF000
    return True


def _levels(vcpu: WholeVcpu) -> tuple[tuple[_Level, ...], int, int]:
    """The levels, the bytes of an entry, and the first table."""
    if vcpu.efer & _EFER_LMA:
        return _LONG_5 if vcpu.cr4 & _CR4_LA57 else _LONG, 8, vcpu.cr3 & 0xFFFFFFFFFF000
    if vcpu.cr4 & _CR4_PAE:
        return _PAE, 8, vcpu.cr3 & 0xFFFFFFE0
    return _LEGACY_PSE if vcpu.cr4 & _CR4_PSE else _LEGACY, 4, vcpu.cr3 & 0xFFFFF000
