"""Windows crash dumps of 64-bit guests: the header, where physical memory lies, and the way to each CPU's context.

Source: QEMU include/qemu/win_dump_defs.h (WinDumpHeader64, WinDumpPhyMemDesc64, KDBG_*), dump/win_dump.c (fill_context:
QEMU puts the CPUs' contexts into the guest's processor blocks); Microsoft wdbgexts.h (KDDEBUGGER_DATA64).
"""

from __future__ import annotations

MAGIC = b"PAGEDU64"
HEADER_SIZE_BYTES = 0x2000
#: DirectoryTableBase, MachineImageType and NumberProcessors and BugcheckCode, KdDebuggerDataBlock.
CR3_AT, MACHINE_AT, DEBUGGER_DATA_AT = 0x10, 0x30, 0x80
#: NumberOfRuns and, 16 bytes on, runs of first page and pages: as many as fit.
MEMORY_AT, MOST_RUNS = 0x88, 43
CONTEXT_AT, DUMP_TYPE_AT = 0x348, 0xF98
#: DUMP_TYPE_FULL: the runs follow the header, one behind the other.
FULL_DUMP = 1
AMD64_MACHINE = 0x8664
#: CONTEXT_AMD64, a flag of every context of that kind.
CONTEXT_FLAG = 0x100000
#: In the debugger's block: KiProcessorBlock (a pointer to pointers), OffsetPrcbContext (2 bytes).
PROCESSOR_BLOCK_AT, PRCB_CONTEXT_AT = 0x218, 0x338
