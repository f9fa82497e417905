"""Notes of x86 ELF cores.

Source: Linux ``include/linux/elfcore.h``, ``arch/x86/include/asm/user_64.h`` and
``user_32.h``, ``arch/x86/include/uapi/asm/elf.h``.
"""

from __future__ import annotations

from layouts.declare import Array, Bytes, Declaration, Int16sl, Int16ul, Int32sl, Int32ul, Int64ul, Named, Struct
from layouts.vocabulary import Layout
from layouts.x86 import registers as reg
from layouts.x86.xsave import FXSAVE, FXSAVE_REGISTERS

_TIME64 = Struct("sec" / Int64ul * "seconds", "usec" / Int64ul * "microseconds")
_TIME32 = Struct("sec" / Int32ul * "seconds", "usec" / Int32ul * "microseconds")

_USER_REGS_64 = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
    *("rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "rflags", "rsp", "ss"),
    *("fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
_USER_REGS_32 = (
    *("ebx", "ecx", "edx", "esi", "edi", "ebp", "eax"),
    *("ds", "es", "fs", "gs", "orig_eax", "eip", "cs", "eflags", "esp", "ss"),
)


def _prstatus(word: Declaration, time: Declaration, pad: tuple[Named, ...], names: tuple[str, ...]) -> Struct:
    """Struct elf_prstatus for one word size (struct elf_prstatus_common and what follows)."""
    return Struct(
        "si_signo" / Int32sl * "signal",
        "si_code" / Int32sl * "signal code",
        "si_errno" / Int32sl * "signal errno",
        "cursig" / Int16sl * "current signal",
        "pad14" / Int16ul * "padding",
        "sigpend" / word * "pending signals",
        "sighold" / word * "blocked signals",
        "pid" / Int32sl * "thread id",
        "ppid" / Int32sl * "parent process",
        "pgrp" / Int32sl * "process group",
        "sid" / Int32sl * "session",
        "utime" / time,
        "stime" / time,
        "cutime" / time,
        "cstime" / time,
        "reg" / Struct(*(name / word for name in names)),
        "fpvalid" / Int32sl * "floating point registers are valid",
        *pad,
    )


PRSTATUS_64 = Layout(
    "elf-prstatus-x86-64",
    "thread status and general registers (NT_PRSTATUS)",
    "prstatus",
    _prstatus(Int64ul, _TIME64, ("pad332" / Int32ul * "padding",), _USER_REGS_64),
    "Linux include/linux/elfcore.h, struct elf_prstatus",
    registers={"reg.rflags": reg.RFLAGS},
    roots={"reg": "regs"},
)

PRSTATUS_32 = Layout(
    "elf-prstatus-i386",
    "thread status and general registers (NT_PRSTATUS, 32-bit)",
    "prstatus",
    _prstatus(Int32ul, _TIME32, (), _USER_REGS_32),
    "Linux include/linux/elfcore.h, struct compat_elf_prstatus",
    registers={"reg.eflags": reg.RFLAGS},
    roots={"reg": "regs"},
)

#: What PTRACE_GETREGSET gives of the thread status: its registers alone.
REGSET_64 = Layout(
    "elf-regs-x86-64",
    "general registers (PTRACE_GETREGSET NT_PRSTATUS)",
    "prstatus",
    Struct("reg" / Struct(*(name / Int64ul for name in _USER_REGS_64))),
    "Linux arch/x86/include/asm/user_64.h, struct user_regs_struct",
    registers={"reg.rflags": reg.RFLAGS},
    roots={"reg": "regs"},
)

REGSET_32 = Layout(
    "elf-regs-i386",
    "general registers (PTRACE_GETREGSET NT_PRSTATUS, 32-bit)",
    "prstatus",
    Struct("reg" / Struct(*(name / Int32ul for name in _USER_REGS_32))),
    "Linux arch/x86/include/asm/user_32.h, struct user_regs_struct",
    registers={"reg.eflags": reg.RFLAGS},
    roots={"reg": "regs"},
)

SHSTK = Layout(
    "elf-x86-shstk",
    "user shadow stack (NT_X86_SHSTK)",
    "shstk",
    Struct("ssp" / Int64ul * "shadow stack pointer"),
    "Linux arch/x86/kernel/fpu/regset.c, ssp_get",
)

XSAVE_LAYOUT_ENTRY = Struct(
    "type" / Int32ul * "component number",
    "size" / Int32ul * "bytes",
    "offset" / Int32ul * "offset in the standard format",
    "flags" / Int32ul * "reserved",
)

#: user_i387_ia32_struct: the FSAVE image of NT_FPREGSET in a 32-bit core.
FSAVE = Layout(
    "fsave",
    "FSAVE image (NT_FPREGSET, 32-bit)",
    "fpregs",
    Struct(
        "fcw" / Int16ul * "x87 control word",
        "reserved2" / Int16ul * "the kernel writes 0xffff",
        "fsw" / Int16ul * "x87 status word",
        "reserved6" / Int16ul * "the kernel writes 0xffff",
        "ftw" / Int16ul * "x87 tag word, two bits a register",
        "reserved10" / Int16ul * "the kernel writes 0xffff",
        "fip" / Int32ul * "last x87 instruction",
        "fcs" / Int16ul * "its segment",
        "fop" / Int16ul * "its opcode",
        "foo" / Int32ul * "last x87 operand",
        "fos" / Int16ul * "its segment",
        "reserved26" / Int16ul * "the kernel writes 0xffff",
        "st" / Array(8, Bytes(10)) * "x87 stack register, ST(0) first",
    ),
    "Linux arch/x86/include/asm/user_32.h, struct user_i387_ia32_struct; fpu/regset.c, __convert_from_fxsr",
    registers={"fcw": reg.FCW, "fsw": reg.FSW, "ftw": reg.TAG_WORD},
)

_QEMU_SEGMENT = Struct(
    "selector" / Int32ul * "selector",
    "limit" / Int32ul * "limit in bytes",
    "flags" / Int32ul * "descriptor flags as QEMU keeps them",
    "pad" / Int32ul * "padding",
    "base" / Int64ul * "base address",
)

#: QEMUCPUState: the note that a guest dump has beside the thread status.
QEMU_CPU = Layout(
    "elf-qemu-cpu-x86",
    "CPU state of a guest dump (note QEMU)",
    "qemu",
    Struct(
        "version" / Int32ul * "version, 1",
        "size" / Int32ul * "bytes, 440",
        *(
            name / Int64ul
            for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", *(f"r{n}" for n in range(8, 16)))
        ),
        "rip" / Int64ul * "instruction pointer",
        "rflags" / Int64ul * "flags",
        "sregs"
        / Struct(
            *(name / _QEMU_SEGMENT for name in ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")),
            *(f"cr{n}" / Int64ul * f"control register {n}" for n in range(5)),
        ),
        "msr" / Struct("IA32_KERNEL_GS_BASE" / Int64ul * "kernel GS base"),
    ),
    "QEMU target/i386/arch_dump.c, QEMUCPUState",
    registers={
        "rflags": reg.RFLAGS,
        "sregs.cr0": reg.CR0,
        "sregs.cr3": reg.CR3,
        "sregs.cr4": reg.CR4,
    },
    roots={"sregs": "sregs", "msr": "msr"},
)

#: NT_PRFPREG, and what FXSAVE writes.
FPREGSET = Layout(
    "fxsave",
    "FXSAVE image",
    "fpregs",
    Struct(*FXSAVE.subcons, "sw_reserved" / Bytes(48) * "software area"),
    "Intel SDM vol. 1, 10.5.1",
    registers=FXSAVE_REGISTERS,
)
