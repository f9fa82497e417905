"""A bare-metal guest that uses what it has: it turns controls on, executes instructions, and notes how each went.

64 KiB of firmware (:mod:`tests.machine.guest_code` is the assembler). The guest goes to long mode (with five levels
where it has LA57), turns on what it can (``Probe.enable``), uses everything once (``Probe.use``) and halts; an NMI
makes it use everything again. How a use went is a number: 0, or the vector of the exception, or what the code put
there. A QEMU without KVM hangs at a write of CR4 with a bit that its CPU does not have (helper_write_crN,
target/i386/tcg/sysemu/misc_helper.c: an exit to no nested hypervisor): what is not reached says so.

Source: Intel SDM vol. 3A 9.8.5 (to long mode), 4.5 (page tables), 6.10 (IDT).
"""

from __future__ import annotations

import struct

from layouts.x86.models.features import features
from tests.machine.guest_code import (
    CR4_ALWAYS,
    CR4_AT,
    CR4_LA57,
    EFER_AT,
    EFER_MSR,
    KEY_PAGE,
    USER_PAGE,
    VECTOR_AT,
    XCR0_AT,
    Code,
    le,
    load,
    octets,
    store,
)
from tests.machine.guest_probes import PROBES

_ROM_AT, _GDT_POINTER = 0xF0000, 0xFFE0
#: RAM: page tables, then what the guest keeps.
_PML4, _PDPT, _PD, _PML5 = 0x10000, 0x11000, 0x12000, 0x13000
_GDT, _TSS, _STACK = 0x8000, 0x8200, 0x7000
_GO_ON, _TSS_RSP0 = 0x9008, _TSS + 4
RESULTS_AT, ROUNDS_AT = 0xA000, 0x9000
#: What a probe's place has before it was used: the guest went no further.
NOT_REACHED = 0xFFFFFFFF
_CODE32, _DATA, _CODE64, _TSS_SELECTOR = 8, 0x10, 0x18, 0x20


def rom() -> bytes:
    """The firmware: start in real mode, long mode, one round, then one for each NMI."""
    code = Code(_ROM_AT)
    _real_mode(code)
    _protected_mode(code)
    _long_mode(code)
    _round(code)
    _handlers(code)
    _tables(code)
    found = code.done()
    found = found.ljust(_GDT_POINTER, b"\0") + le(63, 2) + le(code.address_of("gdt"))
    # JMP rel16 at the reset vector, to 0.
    return found.ljust(0xFFF0, b"\0") + octets("e90d00").ljust(16, b"\0")


def _real_mode(code: Code) -> None:
    code.put("fa")  # CLI
    code.put("2e660f0116", le(_GDT_POINTER, 2))  # LGDT CS:[pointer]
    code.put("0f20c00c010f22c0")  # CR0.PE
    code.address("66ea", "start32").put(le(_CODE32, 2))  # JMP FAR


def _protected_mode(code: Code) -> None:
    """Page tables, the local APIC's NMI, CR4, CR3, EFER.LME, CR0.PG."""
    code.label("start32").put("66b8", le(_DATA, 2), "8ed88ec08ed0", "bc", le(_STACK))
    entries = {
        _PML4: _PDPT | 7,
        _PDPT: _PD | 7,
        # A page of 1 GiB at 1 GiB: the first of physical memory.
        _PDPT + 8: 0x83,
        _PD: 0x83,
        _PD + 8: USER_PAGE | 0x87,
        _PD + 16: KEY_PAGE | 0x87 | 1 << 59,
        _PML5: _PML4 | 7,
        _TSS_RSP0: _STACK,
        # SVR: on; LVT LINT1: NMI.
        0xFEE000F0: 0x1FF,
        0xFEE00360: 0x400,
    }
    for at, value in entries.items():
        code.put("c705", le(at), le(value & 0xFFFFFFFF))  # MOV DWORD [at], value
        if value >> 32:
            code.put("c705", le(at + 4), le(value >> 32))
    code.put("be").put(le(_PML4))  # MOV ESI, PML4: CR3 with four levels
    code.put("31c00fa2", "83f807").relative("0f8c", "no_la57")  # CPUID 0: has leaf 7
    code.put("b80700000031c90fa2", "0fbae110").relative("0f83", "no_la57")  # BT ECX, 16; JNC
    code.put("be", le(_PML5), "bf", le(CR4_LA57)).relative("e9", "paging")
    code.label("no_la57").put("31ff").label("paging")
    code.put("81cf", le(CR4_ALWAYS), "0f22e7", "0f22de")  # OR EDI; MOV CR4, EDI; MOV CR3, ESI
    code.put("b9", le(EFER_MSR), "0f32", "0d", le(1 << 8), "0f30")
    code.put("0f20c00d", le(1 << 31 | 2), "25", le(~0xC & 0xFFFFFFFF), "0f22c0")  # PG, MP; not EM, TS
    code.address("ea", "start64").put(le(_CODE64, 2))


def _long_mode(code: Code) -> None:
    """A GDT in RAM, the IDT, TSS; then everything is turned on, and what came of it kept."""
    code.label("start64").address("be", "gdt").put("bf", le(_GDT), "b9", le(64), "f3a4")  # REP MOVSB
    code.address("0f011425", "pointer_ram").address("0f011c25", "pointer_idt")  # LGDT, LIDT
    code.put("b8", le(_TSS_SELECTOR), "0f00d8")  # LTR
    code.put("66b8", le(_DATA, 2), "8ed8", "8ed0")
    for number, probe in enumerate(PROBES):
        if probe.enable:
            _unless_has(code, probe.features.split()[0], f"enabled{number}")
            _guarded(code, f"enabled{number}", probe.enable)
            code.label(f"enabled{number}")
    code.put("0f20e0", octets("48") + store(CR4_AT))
    _guarded(code, "no_xcr0", octets("31c90f01d0") + store(XCR0_AT))
    code.label("no_xcr0").put("b9", le(EFER_MSR), "0f32", store(EFER_AT))


def _unless_has(code: Code, feature: str, then: str) -> None:
    """Go on at ``then`` unless CPUID has the feature."""
    bit = features()[feature][0]
    leaf, subleaf = bit.word.leaf
    if leaf < 0x80000000:
        code.put("31c00fa2", "3d", le(leaf)).relative("0f82", then)  # CPUID 0; CMP EAX, leaf; JB
    code.put("b8", le(leaf), "b9", le(subleaf), "0fa2")
    modrm = 0xE0 | (0, 3, 1, 2)[bit.word.register_number]
    code.put("0fba", le(modrm, 1), le(bit.number, 1)).relative("0f83", then)  # BT register, bit; JNC


def _guarded(code: Code, then: str, instructions: bytes) -> None:
    """An exception goes on at ``then``: LEA RAX, [then]; MOV [go on], RAX."""
    code.relative("488d05", then).put("48", store(_GO_ON), instructions)


def _round(code: Code) -> None:
    """Each probe once; its number to its place; the count goes up; HLT."""
    code.label("round").put("bc", le(_STACK), "6a029d")
    code.put("bf", le(RESULTS_AT), "b9", le(len(PROBES)), "b8", le(NOT_REACHED), "f3ab")  # REP STOSD
    for number, probe in enumerate(PROBES):
        code.put("c70425", le(VECTOR_AT), bytes(4))
        _guarded(code, f"used{number}", probe.use)
        code.label(f"used{number}").put("bc", le(_STACK), "6a029d")
        code.put("8b0425", le(VECTOR_AT), store(RESULTS_AT + 4 * number))
    again = {
        "cr4": load(CR4_AT) + octets("0f22e0"),
        "xcr0": load(XCR0_AT) + octets("31d231c90f01d1"),
        "efer": load(EFER_AT) + octets("31d2b9") + le(EFER_MSR) + octets("0f30"),
    }
    for name, instructions in again.items():
        _guarded(code, f"{name}_again", instructions)
        code.label(f"{name}_again")
    code.put("ff0425", le(ROUNDS_AT), "f4ebfd")  # INC DWORD [rounds]; HLT; JMP $-1


def _handlers(code: Code) -> None:
    for vector in range(32):
        code.label(f"vector{vector}")
        if vector == 2:
            code.relative("e9", "round")
        else:
            code.put("6a", le(vector, 1)).relative("e9", "fault")  # PUSH vector
    # POP RAX; MOV [vector], EAX; MOV ESP, stack; PUSH 2; POPFQ; JMP [go on].
    code.label("fault").put("58", store(VECTOR_AT), "bc", le(_STACK), "6a029d", "ff2425", le(_GO_ON))


def _tables(code: Code) -> None:
    tss = 0x67 | (_TSS & 0xFFFFFF) << 16 | 0x89 << 40
    rows = (0, 0xCF9B000000FFFF, 0xCF93000000FFFF, 0xAF9B000000FFFF, tss, 0, 0xCFF3000000FFFF, 0xAFFB000000FFFF)
    code.align(16).label("gdt").put(*(le(row, 8) for row in rows)).label("idt")
    for vector in range(32):
        at = code.address_of(f"vector{vector}")
        code.put(struct.pack("<HHBBHII", at & 0xFFFF, _CODE64, 0, 0x8E, at >> 16, 0, 0))
    code.label("pointer_ram").put(le(63, 2), le(_GDT, 8))
    code.label("pointer_idt").put(le(511, 2)).address("", "idt").put(bytes(4))
