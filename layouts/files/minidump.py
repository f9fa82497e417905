"""Minidumps: the header, streams, threads, and the contexts of AMD64 and ARM64, as offsets in bytes.

Source: Microsoft minidumpapiset.h (MINIDUMP_HEADER, MINIDUMP_DIRECTORY, MINIDUMP_THREAD, MINIDUMP_SYSTEM_INFO,
MINIDUMP_EXCEPTION_STREAM, XSTATE_CONFIG_FEATURE_MSC_INFO), winnt.h (CONTEXT, ARM64_NT_CONTEXT, CONTEXT_EX,
XSTATE_CONTEXT); Breakpad src/google_breakpad/common/minidump_cpu_{amd64,arm64}.h.
"""

from __future__ import annotations

MAGIC = b"MDMP\x93\xa7"
THREAD_LIST, EXCEPTION, SYSTEM_INFO, MISC_INFO = 3, 6, 7, 15
HEADER_SIZE_BYTES, DIRECTORY_SIZE_BYTES, THREAD_SIZE_BYTES = 32, 12, 48
#: Signature, version, streams, offset of their directory.
HEADER = "<4sIII"
#: ThreadId, SuspendCount, PriorityClass, Priority, Teb, stack (start, size, offset), context (size, offset).
THREAD = "<IIIIQQIIII"
#: ProcessorArchitecture: words of the architectures that are none of ours, and ours.
AMD64, ARM64, BREAKPAD_ARM64 = 9, 12, 0x8003
OTHERS = {
    0: "32-bit x86",
    5: "32-bit Arm",
    6: "Itanium",
    10: "x86 under WOW64",
    1: "MIPS",
    3: "PowerPC",
    0x8005: "RISC-V",
}

#: CONTEXT of AMD64.
AMD64_SIZE_BYTES = 1232
AMD64_FLAGS_AT = 0x30
AMD64_CONTROL, AMD64_INTEGER, AMD64_SEGMENTS, AMD64_FLOATING, AMD64_DEBUG, AMD64_XSTATE = 1, 2, 4, 8, 16, 0x40
AMD64_MXCSR_AT = 0x34
AMD64_LEGACY_AT, LEGACY_SIZE_BYTES = 0x100, 512
#: Flag of the group -> path, offset, bytes.
AMD64_FIELDS = {
    AMD64_CONTROL: (
        ("sregs.cs.selector", 0x38, 2),
        ("sregs.ss.selector", 0x42, 2),
        ("regs.rflags", 0x44, 4),
        ("regs.rsp", 0x98, 8),
        ("regs.rip", 0xF8, 8),
    ),
    AMD64_INTEGER: tuple(
        (f"regs.r{name}", offset, 8)
        for name, offset in (
            *zip(("ax", "cx", "dx", "bx"), range(0x78, 0x98, 8), strict=True),
            *zip(("bp", "si", "di", *map(str, range(8, 16))), range(0xA0, 0xF8, 8), strict=True),
        )
    ),
    AMD64_SEGMENTS: tuple(
        (f"sregs.{name}.selector", 0x3A + 2 * n, 2) for n, name in enumerate(("ds", "es", "fs", "gs"))
    ),
    AMD64_DEBUG: (
        *((f"debugregs.db[{n}]", 0x48 + 8 * n, 8) for n in range(4)),
        ("debugregs.dr6", 0x68, 8),
        ("debugregs.dr7", 0x70, 8),
    ),
}
#: CONTEXT_EX stands behind a CONTEXT: All, Legacy, XState, each an offset from it and a length.
CONTEXT_EX = "<iIiIiI"
CONTEXT_EX_SIZE_BYTES = 24

#: ARM64_NT_CONTEXT.
ARM64_SIZE_BYTES = 912
ARM64_CONTROL, ARM64_INTEGER, ARM64_FLOATING = 1, 2, 4
ARM64_FIELDS = {
    ARM64_CONTROL: (
        ("core.pstate", 0x4, 4),
        ("core.x[29]", 0xF0, 8),
        ("core.x[30]", 0xF8, 8),
        ("core.sp", 0x100, 8),
        ("core.pc", 0x108, 8),
    ),
    ARM64_INTEGER: tuple((f"core.x[{n}]", 8 + 8 * n, 8) for n in range(29)),
    ARM64_FLOATING: (
        *((f"core.v[{n}]", 0x110 + 16 * n, 16) for n in range(32)),
        ("core.fpcr", 0x310, 4),
        ("core.fpsr", 0x314, 4),
    ),
}
#: Breakpad's own ARM64 context: flags of 64 bits, x0 to x30, SP, PC, CPSR, FPSR, FPCR, V.
BREAKPAD_ARM64_SIZE_BYTES = 796
BREAKPAD_ARM64_FIELDS = (
    *((f"core.x[{n}]", 8 + 8 * n, 8) for n in range(31)),
    ("core.sp", 256, 8),
    ("core.pc", 264, 8),
    ("core.pstate", 272, 4),
    ("core.fpsr", 276, 4),
    ("core.fpcr", 280, 4),
    *((f"core.v[{n}]", 284 + 16 * n, 16) for n in range(32)),
)
#: XSTATE_CONFIG_FEATURE_MSC_INFO: SizeOfInfo, ContextSize, EnabledFeatures; then offset and size of 64 features.
XSTATE_CONFIG = "<IIQ"
XSTATE_FEATURES = 64
#: Where it is in MINIDUMP_MISC_INFO_5.
XSTATE_CONFIG_AT = 832
