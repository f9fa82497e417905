"""Memory of the guests that the recorder made: zeroes, then its tables. VMs have it in common until one is written to.

A recording has some thousand VMs, and each 2 MiB.
"""

from __future__ import annotations

import struct

from inspector.machine.x86.kvm.state import VmConfig
from layouts.light import cache

MEMORY_SIZE_BYTES = 0x200000
ZEROES = bytes(MEMORY_SIZE_BYTES)


def put_tables(vm: VmConfig) -> None:
    """Page tables for 2 MiB, PAE's PDPT at 0x8000, GDT at 0x6000, IDT at 0x4000 with a handler for each exception."""
    if isinstance(vm.memory, bytearray):
        _write_tables(vm.memory)
    else:
        vm.memory = _zeroes_with_tables()


def own_memory(vm: VmConfig) -> bytearray:
    """The memory of this VM alone."""
    if not isinstance(vm.memory, bytearray):
        vm.memory = bytearray(vm.memory)
    return vm.memory


@cache
def _zeroes_with_tables() -> bytes:
    memory = bytearray(ZEROES)
    _write_tables(memory)
    return bytes(memory)


def _write_tables(memory: bytearray) -> None:
    for at, value in ((0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x83)):
        struct.pack_into("<Q", memory, at, value)
    struct.pack_into("<4Q", memory, 0x8000, 0x3001, 0, 0, 0)
    gdt = (0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00008B0070000067, 0)
    struct.pack_into("<5Q", memory, 0x6000, *gdt)
    for vector in range(32):
        address = 0x5000 + vector * 16
        struct.pack_into("<QQ", memory, 0x4000 + vector * 16, address | 8 << 16 | 0x8E00 << 32, 0)
        memory[address : address + 5] = bytes((0xB0, vector, 0xE6, 0x10, 0xF4))
