"""ELF core notes that every architecture has, and the table of all known notes.

Source: Linux ``include/uapi/linux/elf.h`` (note numbers), ``fs/binfmt_elf.c`` (what a core
holds and in which order).
"""

from __future__ import annotations

from layouts.declare import Bytes, Declaration, Int8sl, Int16ul, Int32sl, Int32ul, Int64ul, Named, Struct
from layouts.light import NamedTuple
from layouts.vocabulary import Layout

EM_386 = 3
EM_X86_64 = 62
EM_AARCH64 = 183
#: Known by name, not decoded.
EM_ARM = 40
EM_RISCV = 243


class Note(NamedTuple):
    """A note type: which layout its bytes have.

    ``layout`` is the name of a layout in :mod:`layouts.registry`; ``scope`` is ``thread``,
    ``process``, ``layout`` (a description of other notes) or ``cpu`` (the nth one belongs to
    the nth thread). ``machines`` and
    ``elf_class`` limit where it applies; empty and 0 mean everywhere.
    """

    owner: str
    type: int
    name: str
    scope: str
    layout: str
    machines: tuple[int, ...] = ()
    elf_class: int = 0


NT_PRSTATUS = 1
#: NT_PRSTATUS of 32-bit Arm, which is named but not decoded.
ARM32_PRSTATUS_SIZE_BYTES = 148
NT_X86_XSTATE = 0x202
NT_ARM_TLS = 0x401
NT_X86_XSAVE_LAYOUT = 0x205

_X86 = (EM_386, EM_X86_64)
_ARM64 = (EM_AARCH64,)
_RISCV = (EM_RISCV,)

NOTES = (
    Note("CORE", 1, "NT_PRSTATUS", "thread", "elf-prstatus-x86-64", (EM_X86_64,), 64),
    # ELF64 in a dump by qemu-system-i386, ELF32 of a process.
    Note("CORE", 1, "NT_PRSTATUS", "thread", "elf-prstatus-i386", (EM_386,)),
    Note("CORE", 2, "NT_FPREGSET", "thread", "fxsave", (EM_X86_64,), 64),
    Note("CORE", 2, "NT_FPREGSET", "thread", "fsave", (EM_386,), 32),
    Note("CORE", 3, "NT_PRPSINFO", "process", "elf-prpsinfo-64", (), 64),
    Note("CORE", 3, "NT_PRPSINFO", "process", "elf-prpsinfo-32", (), 32),
    Note("CORE", 6, "NT_AUXV", "process", "elf-auxv"),
    Note("CORE", 0x53494749, "NT_SIGINFO", "process", "elf-siginfo"),
    Note("CORE", 0x46494C45, "NT_FILE", "process", "elf-file"),
    Note("LINUX", 0x46E62B7F, "NT_PRXFPREG", "thread", "fxsave", (EM_386,)),
    Note("LINUX", 0x202, "NT_X86_XSTATE", "thread", "xsave", _X86),
    Note("LINUX", 0x204, "NT_X86_SHSTK", "thread", "elf-x86-shstk", _X86),
    Note("LINUX", 0x205, "NT_X86_XSAVE_LAYOUT", "layout", "elf-xsave-layout", _X86),
    Note("CORE", 1, "NT_PRSTATUS", "thread", "elf-prstatus-arm64", _ARM64),
    Note("CORE", 2, "NT_FPREGSET", "thread", "elf-fpregset-arm64", _ARM64),
    Note("LINUX", 0x401, "NT_ARM_TLS", "thread", "elf-arm64-tls", _ARM64),
    Note("LINUX", 0x402, "NT_ARM_HW_BREAK", "thread", "elf-arm64-hw-break", _ARM64),
    Note("LINUX", 0x403, "NT_ARM_HW_WATCH", "thread", "elf-arm64-hw-watch", _ARM64),
    Note("LINUX", 0x404, "NT_ARM_SYSTEM_CALL", "thread", "elf-arm64-system-call", _ARM64),
    Note("LINUX", 0x405, "NT_ARM_SVE", "thread", "arm64-sve", _ARM64),
    Note("LINUX", 0x406, "NT_ARM_PAC_MASK", "thread", "elf-arm64-pac-mask", _ARM64),
    Note("LINUX", 0x407, "NT_ARM_PACA_KEYS", "thread", "elf-arm64-paca-keys", _ARM64),
    Note("LINUX", 0x408, "NT_ARM_PACG_KEYS", "thread", "elf-arm64-pacg-keys", _ARM64),
    Note("LINUX", 0x409, "NT_ARM_TAGGED_ADDR_CTRL", "thread", "elf-arm64-tagged-addr-ctrl", _ARM64),
    Note("LINUX", 0x40A, "NT_ARM_PAC_ENABLED_KEYS", "thread", "elf-arm64-pac-enabled-keys", _ARM64),
    Note("LINUX", 0x40B, "NT_ARM_SSVE", "thread", "arm64-sve", _ARM64),
    Note("LINUX", 0x40C, "NT_ARM_ZA", "thread", "arm64-za", _ARM64),
    Note("LINUX", 0x40D, "NT_ARM_ZT", "thread", "elf-arm64-zt", _ARM64),
    Note("LINUX", 0x40E, "NT_ARM_FPMR", "thread", "elf-arm64-fpmr", _ARM64),
    Note("LINUX", 0x40F, "NT_ARM_POE", "thread", "elf-arm64-poe", _ARM64),
    Note("LINUX", 0x410, "NT_ARM_GCS", "thread", "elf-arm64-gcs", _ARM64),
    Note("QEMU", 0, "QEMU CPU state", "cpu", "elf-qemu-cpu-x86", _X86),
    Note("LINUX", 0x200, "NT_386_TLS", "thread", "raw", _X86),
    Note("LINUX", 0x201, "NT_386_IOPERM", "thread", "raw", _X86),
    Note("CORE", 1, "NT_PRSTATUS", "thread", "raw", _RISCV),
    Note("CORE", 2, "NT_FPREGSET", "thread", "raw", _RISCV),
    Note("LINUX", 0x900, "NT_RISCV_CSR", "thread", "raw", _RISCV),
    Note("LINUX", 0x901, "NT_RISCV_VECTOR", "thread", "raw", _RISCV),
    Note("LINUX", 0x902, "NT_RISCV_TAGGED_ADDR_CTRL", "thread", "raw", _RISCV),
    Note("LINUX", 0x903, "NT_RISCV_USER_CFI", "thread", "raw", _RISCV),
)


def _prpsinfo(flag: Declaration, uid: Declaration, pad: tuple[Named, ...]) -> Struct:
    return Struct(
        "state" / Int8sl * "numeric process state",
        "sname" / Bytes(1) * "process state letter",
        "zomb" / Int8sl * "zombie",
        "nice" / Int8sl * "nice value",
        *pad,
        "flag" / flag * "flags",
        "uid" / uid * "user",
        "gid" / uid * "group",
        "pid" / Int32sl * "process id",
        "ppid" / Int32sl * "parent process",
        "pgrp" / Int32sl * "process group",
        "sid" / Int32sl * "session",
        "fname" / Bytes(16) * "file name",
        "psargs" / Bytes(80) * "command line",
    )


PRPSINFO_64 = Layout(
    "elf-prpsinfo-64",
    "process information (NT_PRPSINFO)",
    "prpsinfo",
    _prpsinfo(Int64ul, Int32ul, ("pad4" / Int32ul * "padding",)),
    "Linux include/linux/elfcore.h, struct elf_prpsinfo",
)

PRPSINFO_32 = Layout(
    "elf-prpsinfo-32",
    "process information (NT_PRPSINFO, 32-bit)",
    "prpsinfo",
    _prpsinfo(Int32ul, Int16ul, ()),
    "Linux include/linux/elfcore.h, struct compat_elf_prpsinfo",
)

#: Members of prpsinfo that are text.
TEXT_MEMBERS = frozenset({"sname", "fname", "psargs"})

SIGINFO = Layout(
    "elf-siginfo",
    "the signal that ended the process (NT_SIGINFO)",
    "siginfo",
    Struct(
        "si_signo" / Int32sl * "signal",
        "si_errno" / Int32sl * "errno",
        "si_code" / Int32sl * "code",
        "pad12" / Int32ul * "padding",
        "si_addr" / Int64ul * "fault address, or the sender's pid and uid",
        "fields" / Bytes(104) * "further fields, by signal",
    ),
    "Linux include/uapi/asm-generic/siginfo.h",
)

AUXV_NAMES = {
    0: "AT_NULL",
    3: "AT_PHDR",
    4: "AT_PHENT",
    5: "AT_PHNUM",
    6: "AT_PAGESZ",
    7: "AT_BASE",
    8: "AT_FLAGS",
    9: "AT_ENTRY",
    11: "AT_UID",
    12: "AT_EUID",
    13: "AT_GID",
    14: "AT_EGID",
    15: "AT_PLATFORM",
    16: "AT_HWCAP",
    17: "AT_CLKTCK",
    23: "AT_SECURE",
    24: "AT_BASE_PLATFORM",
    25: "AT_RANDOM",
    26: "AT_HWCAP2",
    27: "AT_RSEQ_FEATURE_SIZE",
    28: "AT_RSEQ_ALIGN",
    29: "AT_HWCAP3",
    30: "AT_HWCAP4",
    31: "AT_EXECFN",
    32: "AT_SYSINFO",
    33: "AT_SYSINFO_EHDR",
    51: "AT_MINSIGSTKSZ",
}

#: Linux signal numbers (x86, arm64).
SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}
