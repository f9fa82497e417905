"""Windows crash dumps of 64-bit guests, as of QEMU (``dump-guest-memory -w``, ``virsh dump --format win-dmp``).

The contexts of the CPUs are in the guest's memory, in its processor blocks: KdDebuggerDataBlock of the header leads to
KiProcessorBlock, through the guest's page tables. Where that way is broken, the context of the header is what there is.

Source: see layouts/files/win_dump.py; page tables: Intel SDM vol. 3, 4.5 (4-level paging).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from inspector.capture.errors import InputError
from inspector.capture.model import Area, Capture, Vcpu
from inspector.readers import minidump
from inspector.readers.named_values import facts_area
from inspector.readers.options import Options
from inspector.readers.source import Source
from layouts.files import minidump as contexts
from layouts.files import win_dump as layout

_PAGE_BYTES = 4096
_ADDRESS = 0x000F_FFFF_FFFF_F000
_PRESENT, _LARGE = 1, 1 << 7
_MOST_CPUS = 4096


def read(source: Source, options: Options) -> Capture:
    """A vCPU a context. Raises InputError where there is none."""
    head = source.read_exactly(0, layout.HEADER_SIZE_BYTES, "the header of a Windows crash dump")
    machine, count, code = struct.unpack_from("<3I", head, layout.MACHINE_AT)
    if machine != layout.AMD64_MACHINE:
        raise InputError(source.name, "a Windows crash dump of AMD64", f"machine {machine:#x}", layout.MACHINE_AT)
    dump = minidump.Dump(source, contexts.AMD64, None, options, [])
    faults: list[InputError] = []
    vcpus: list[Vcpu] = []
    try:
        for at in _Memory(source, head).contexts(count):
            vcpus.append(Vcpu(len(vcpus), f"CPU {len(vcpus)}", "x86", _context(dump, at)))
    except InputError as error:
        faults.append(error)
    if not vcpus and int.from_bytes(_flags(head, layout.CONTEXT_AT), "little") & layout.CONTEXT_FLAG:
        vcpus.append(Vcpu(0, "the header's context", "x86", _context(dump, layout.CONTEXT_AT)))
    if not vcpus:
        raise (faults or [InputError(source.name, "a context of a CPU", "none")])[0]
    facts = (("NumberProcessors", str(count)), ("BugcheckCode", f"{code:#x}"))
    context = facts_area(facts, "dump", "header of the crash dump", source.name)
    return Capture(source.name, "win-dmp", vcpus, context=[context], faults=faults, notices=dump.notices)


def _context(dump: minidump.Dump, at: int) -> list[Area]:
    head = dump.source.read_exactly(at, contexts.AMD64_SIZE_BYTES, "a CPU's context")
    flags = int.from_bytes(_flags(head, 0), "little")
    if not flags & layout.CONTEXT_FLAG:
        raise InputError(dump.source.name, "a context of AMD64", f"ContextFlags {flags:#x}", at)
    return minidump.areas_of_context(dump, at, contexts.AMD64_SIZE_BYTES)


def _flags(data: bytes, at: int) -> bytes:
    return data[at + contexts.AMD64_FLAGS_AT : at + contexts.AMD64_FLAGS_AT + 4]


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


class _Memory:
    """The guest's memory, by virtual address. Methods raise InputError for what is not in the dump."""

    def __init__(self, source: Source, head: bytes) -> None:
        self._source = source
        self._head = head
        self._runs: list[tuple[int, int, int]] = []
        kind = int.from_bytes(head[layout.DUMP_TYPE_AT : layout.DUMP_TYPE_AT + 4], "little")
        if kind != layout.FULL_DUMP:
            return
        count = int.from_bytes(head[layout.MEMORY_AT : layout.MEMORY_AT + 4], "little")
        at = layout.HEADER_SIZE_BYTES
        for number in range(min(count, layout.MOST_RUNS)):
            first, pages = struct.unpack_from("<QQ", head, layout.MEMORY_AT + 16 + 16 * number)
            self._runs.append((first * _PAGE_BYTES, pages * _PAGE_BYTES, at))
            at += pages * _PAGE_BYTES

    def contexts(self, count: int) -> Iterator[int]:
        """Where each CPU's context lies in the file."""
        data = _u64(self._head, layout.DEBUGGER_DATA_AT)
        blocks = self._u64(data + layout.PROCESSOR_BLOCK_AT)
        offset = self._u64(data + layout.PRCB_CONTEXT_AT) & 0xFFFF
        for number in range(min(count, _MOST_CPUS)):
            address = self._u64(self._u64(blocks + 8 * number) + offset)
            at, last = self._offset(address), contexts.AMD64_SIZE_BYTES - 1
            if self._offset(address + last) != at + last:
                raise InputError(self._source.name, f"the context of CPU {number} in one piece", "two pages apart", at)
            yield at

    def _u64(self, address: int) -> int:
        return _u64(self._source.read_exactly(self._offset(address), 8, f"{address:#x} of the guest's memory"), 0)

    def _offset(self, address: int) -> int:
        """Where a virtual address lies in the file."""
        table = _u64(self._head, layout.CR3_AT) & _ADDRESS
        for level in (39, 30, 21, 12):
            place = self._at(table + 8 * (address >> level & 0x1FF), address)
            entry = _u64(self._source.read_exactly(place, 8, "a page table"), 0)
            if not entry & _PRESENT:
                break
            if level == 12 or (level != 39 and entry & _LARGE):
                page = (1 << level) - 1
                return self._at(entry & _ADDRESS & ~page | address & page, address)
            table = entry & _ADDRESS
        raise InputError(self._source.name, "the guest's processor blocks", f"no page at {address:#x}")

    def _at(self, physical: int, address: int) -> int:
        for first, size_bytes, at in self._runs:
            if first <= physical < first + size_bytes:
                return at + physical - first
        found = f"no memory at {physical:#x}" if self._runs else "a dump without all memory"
        raise InputError(self._source.name, f"the guest's memory, for {address:#x}", found)
