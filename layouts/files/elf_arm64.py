"""Notes of arm64 ELF cores.

Source: Linux ``arch/arm64/include/uapi/asm/ptrace.h``, ``arch/arm64/kernel/ptrace.c``,
``include/linux/elfcore.h``.
"""

from __future__ import annotations

from layouts.arm64 import registers as reg
from layouts.arm64.sysregs import register_of
from layouts.declare import Array, Bytes, Int8ul, Int16sl, Int16ul, Int32sl, Int32ul, Int64ul, Struct
from layouts.vocabulary import Layout

_PTRACE = "Linux arch/arm64/kernel/ptrace.c"
_TIME = Struct("sec" / Int64ul * "seconds", "usec" / Int64ul * "microseconds")
_USER_REGS = Struct(
    "x" / Array(31, Int64ul) * "general register",
    "sp" / Int64ul * "stack pointer",
    "pc" / Int64ul * "program counter",
    "pstate" / Int64ul * "process state",
)

PRSTATUS = Layout(
    "elf-prstatus-arm64",
    "thread status and general registers (NT_PRSTATUS)",
    "prstatus",
    Struct(
        "si_signo" / Int32sl * "signal",
        "si_code" / Int32sl * "signal code",
        "si_errno" / Int32sl * "signal errno",
        "cursig" / Int16sl * "current signal",
        "pad14" / Int16ul * "padding",
        "sigpend" / Int64ul * "pending signals",
        "sighold" / Int64ul * "blocked signals",
        "pid" / Int32sl * "thread id",
        "ppid" / Int32sl * "parent process",
        "pgrp" / Int32sl * "process group",
        "sid" / Int32sl * "session",
        *(name / _TIME for name in ("utime", "stime", "cutime", "cstime")),
        "reg" / _USER_REGS,
        "fpvalid" / Int32sl * "floating point registers are valid",
        "pad388" / Int32ul * "padding",
    ),
    "Linux include/linux/elfcore.h, struct elf_prstatus",
    registers={"reg.pstate": reg.PSTATE},
    roots={"reg": "core"},
)

#: What PTRACE_GETREGSET gives of the thread status: its registers alone.
REGSET = Layout(
    "elf-regs-arm64",
    "general registers (PTRACE_GETREGSET NT_PRSTATUS)",
    "prstatus",
    Struct("reg" / _USER_REGS),
    f"{_PTRACE}, gpr_get",
    registers={"reg.pstate": reg.PSTATE},
    roots={"reg": "core"},
)

FPREGSET = Layout(
    "elf-fpregset-arm64",
    "FPSIMD registers (NT_FPREGSET)",
    "core",
    Struct(
        "v" / Array(32, Bytes(16)) * "FPSIMD register",
        "fpsr" / Int32ul * "floating-point status",
        "fpcr" / Int32ul * "floating-point control",
        "reserved" / Bytes(8) * "reserved",
    ),
    f"{_PTRACE}, struct user_fpsimd_state",
    registers={"fpsr": reg.FPSR, "fpcr": register_of("FPCR") or reg.FPSR},
)


def _system(name: str, title: str, members: tuple[tuple[str, str], ...], **registers: object) -> Layout:
    """A note that holds system registers: their paths are those of any other source."""
    construct = Struct("sysreg" / Struct(*(member / Int64ul * doc for member, doc in members)))
    return Layout(
        name,
        title,
        name.removeprefix("elf-arm64-").replace("-", "_"),
        construct,
        _PTRACE,
        registers={f"sysreg.{key}": value for key, value in registers.items()},  # type: ignore[misc]
        roots={"sysreg": "sysreg"},
    )


TLS = _system(
    "elf-arm64-tls",
    "thread pointers (NT_ARM_TLS)",
    (("TPIDR_EL0", "thread pointer"), ("TPIDR2_EL0", "second thread pointer (SME)")),
)

FPMR = _system(
    "elf-arm64-fpmr",
    "FP8 mode (NT_ARM_FPMR)",
    (("FPMR", "floating-point mode"),),
    FPMR=register_of("FPMR"),
)

POE = _system(
    "elf-arm64-poe",
    "permission overlays (NT_ARM_POE)",
    (("POR_EL0", "permission overlay register"),),
    POR_EL0=register_of("POR_EL0"),
)

PACA_KEYS = _system(
    "elf-arm64-paca-keys",
    "address authentication keys (NT_ARM_PACA_KEYS)",
    tuple(
        (f"AP{key}Key{half}_EL1", f"key {key}, {half.lower()} half")
        for key in ("IA", "IB", "DA", "DB")
        for half in ("Lo", "Hi")
    ),
)

PACG_KEYS = _system(
    "elf-arm64-pacg-keys",
    "generic authentication key (NT_ARM_PACG_KEYS)",
    (("APGAKeyLo_EL1", "key GA, low half"), ("APGAKeyHi_EL1", "key GA, high half")),
)

PAC_MASK = Layout(
    "elf-arm64-pac-mask",
    "bits of a pointer that hold its code (NT_ARM_PAC_MASK)",
    "pac_mask",
    Struct("data_mask" / Int64ul * "data pointers", "insn_mask" / Int64ul * "instruction pointers"),
    f"{_PTRACE}, pac_mask_get",
)

PAC_ENABLED_KEYS = Layout(
    "elf-arm64-pac-enabled-keys",
    "keys in force (NT_ARM_PAC_ENABLED_KEYS)",
    "pac_enabled_keys",
    Struct("keys" / Int64ul * "enabled keys"),
    f"{_PTRACE}, pac_enabled_keys_get",
    registers={"keys": reg.PAC_KEYS},
)

TAGGED_ADDR_CTRL = Layout(
    "elf-arm64-tagged-addr-ctrl",
    "tagged addresses (NT_ARM_TAGGED_ADDR_CTRL)",
    "tagged_addr_ctrl",
    Struct("ctrl" / Int64ul * "control word"),
    f"{_PTRACE}, tagged_addr_ctrl_get",
    registers={"ctrl": reg.TAGGED_ADDR_CTRL},
)

SYSTEM_CALL = Layout(
    "elf-arm64-system-call",
    "system call number (NT_ARM_SYSTEM_CALL)",
    "system_call",
    Struct("number" / Int32sl * "system call, -1 outside of one"),
    f"{_PTRACE}, system_call_get",
)

GCS = Layout(
    "elf-arm64-gcs",
    "guarded control stack (NT_ARM_GCS)",
    "gcs",
    Struct(
        "features_enabled" / Int64ul * "modes in force",
        "features_locked" / Int64ul * "modes that cannot be changed",
        "gcspr_el0" / Int64ul * "stack pointer",
    ),
    f"{_PTRACE}, gcs_get",
    registers={"features_enabled": reg.GCS_MODE, "features_locked": reg.GCS_MODE},
)

ZT = Layout(
    "elf-arm64-zt",
    "SME2 lookup table (NT_ARM_ZT)",
    "zt",
    Struct("zt0" / Bytes(64) * "lookup table ZT0"),
    f"{_PTRACE}, zt_get",
    roots={"zt0": ""},
)

USER_SVE_HEADER = Struct(
    "size" / Int32ul * "bytes of this note",
    "max_size" / Int32ul * "bytes that it may have",
    "vl_bytes" / Int16ul * "vector length in bytes",
    "max_vl_bytes" / Int16ul * "largest vector length in bytes",
    "flags" / Int16ul * "bit 0: SVE registers follow, else FPSIMD; 1: inherit; 3: on exec",
    "reserved" / Int16ul * "reserved",
)
#: What NT_ARM_SVE without SVE registers has behind its header: struct user_fpsimd_state, whose last 8 bytes not all
#: kernels write.
USER_FPSIMD_STATE = Struct(
    "vregs" / Array(32, Bytes(16)) * "vector register",
    "fpsr" / Int32ul * "floating-point status",
    "fpcr" / Int32ul * "floating-point control",
    "reserved" / Bytes(8) * "reserved",
)

SVCR = Layout(
    "elf-arm64-svcr",
    "streaming mode and ZA, as the notes of the thread imply",
    "svcr",
    Struct("svcr" / Int64ul * "SM: NT_ARM_SSVE has registers; ZA: NT_ARM_ZA has rows"),
    f"{_PTRACE}, sve_get_common and za_get",
    registers={"svcr": register_of("SVCR") or reg.FPSR},
    roots={"svcr": ""},
)


def _hardware(kind: str, number: int) -> Layout:
    return Layout(
        f"elf-arm64-hw-{kind}",
        f"hardware {kind}points (NT_ARM_HW_{kind.upper()})",
        f"hw_{kind}",
        Struct(
            "slots" / Int8ul * "slots of the CPU",
            "architecture" / Int8ul * "debug architecture",
            "reserved2" / Bytes(6) * "reserved",
            "slot"
            / Array(
                16,
                Struct(
                    "addr" / Int64ul * "address",
                    "ctrl" / Int32ul * "control",
                    "pad" / Int32ul * "padding",
                ),
            ),
        ),
        f"{_PTRACE}, hw_break_get (note {number:#x})",
    )


HW_BREAK = _hardware("break", 0x402)
HW_WATCH = _hardware("watch", 0x403)

ALL = (
    PRSTATUS,
    REGSET,
    FPREGSET,
    TLS,
    FPMR,
    POE,
    PACA_KEYS,
    PACG_KEYS,
    PAC_MASK,
    PAC_ENABLED_KEYS,
    TAGGED_ADDR_CTRL,
    SYSTEM_CALL,
    GCS,
    ZT,
    SVCR,
    HW_BREAK,
    HW_WATCH,
)
