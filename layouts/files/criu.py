"""CRIU's core images: magic numbers, fields of the messages, and the XSAVE layout in which CRIU keeps components.

Source: CRIU 3.17, images/core.proto, core-x86.proto, core-aarch64.proto (its keys: CRIU 4), criu/include/magic.h,
compel/arch/x86/src/lib/include/uapi/asm/fpu.h (struct xsave_struct).
"""

from __future__ import annotations

COMMON_MAGIC, CORE_MAGIC = 0x54564319, 0x55053847
#: core_entry.mtype.
X86_64, AARCH64 = 1, 3
OTHER_MACHINES = {2: "arm", 4: "ppc64", 5: "s390", 6: "mips", 7: "loongarch64"}
#: Fields of core_entry, task_core_entry, thread_core_entry.
MTYPE, THREAD_INFO, TASK, THREAD, TI_AARCH64 = 1, 2, 3, 5, 8
TASK_COMM, THREAD_COMM = 6, 13
#: Fields of thread_info_x86 and of user_x86_fpregs_entry.
GPREGS, FPREGS, ST_SPACE, XMM_SPACE, XSAVE = 2, 3, 9, 10, 13
#: Fields of thread_info_aarch64. SVE and SME have none: CRIU does not keep them.
AARCH64_TLS, AARCH64_GPREGS, AARCH64_FPSIMD, AARCH64_PAC = 2, 3, 4, 5
#: pac_keys: the message, its first and last numbers, and the register set of ptrace that has the same.
AARCH64_KEYS = (
    (6, 1, 8, "elf-arm64-paca-keys"),
    (6, 9, 9, "elf-arm64-pac-enabled-keys"),
    (7, 1, 2, "elf-arm64-pacg-keys"),
)
#: user_x86_regs_entry, in the order of its fields from 1.
X86_REGISTERS = (
    *(f"regs.r{n}" for n in ("15", "14", "13", "12", "bp", "bx", "11", "10", "9", "8", "ax", "cx", "dx", "si", "di")),
    "orig_rax", "regs.rip", "sregs.cs.selector", "regs.rflags", "regs.rsp", "sregs.ss.selector", "sregs.fs.base",
    "sregs.gs.base", "sregs.ds.selector", "sregs.es.selector", "sregs.fs.selector", "sregs.gs.selector",
)  # fmt: skip
#: user_x86_fpregs_entry: field, bytes, offset in the legacy region.
LEGACY = ((1, 2, 0), (2, 2, 2), (3, 2, 4), (4, 2, 6), (5, 8, 8), (6, 8, 16), (7, 4, 24), (8, 4, 28))
#: The arrays of the legacy region: field, bytes of a number, offset, bytes in all.
ARRAYS = ((ST_SPACE, 4, 32, 128), (XMM_SPACE, 4, 160, 256))
BV_AT, FIRST_COMPONENT_AT = 512, 576
#: user_x86_xsave_entry: field, component, bytes of a number, offset in struct xsave_struct, bytes in all.
COMPONENTS = (
    (2, 2, 4, 576, 256),
    (3, 3, 8, 960, 64),
    (4, 4, 8, 1024, 64),
    (5, 5, 8, 1088, 64),
    (6, 6, 8, 1152, 512),
    (7, 7, 8, 1664, 1024),
    (8, 9, 4, 2688, 8),
)
IMAGE_SIZE_BYTES = 2696
