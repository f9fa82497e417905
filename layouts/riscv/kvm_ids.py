"""KVM register ids of RISC-V: what an id names.

Source: Linux 7.3 ``arch/riscv/include/uapi/asm/kvm.h`` (types, subtypes, structures) and ``asm/ptrace.h`` (order of
the general registers); checked against the headers of Debian's linux-libc-dev.
"""

from __future__ import annotations

from typing import NamedTuple

ARCHITECTURE = 0x80


class Type(NamedTuple):
    """A type of register: its name in the ABI, in paths, and the names of its members by subtype."""

    name: str
    path: str
    title: str
    members: dict[int, tuple[str, ...]]
    subtypes: tuple[str, ...] = ()


_CORE = (
    *("pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *(f"a{n}" for n in range(8)),
    *(f"s{n}" for n in range(2, 12)),
    *("t3", "t4", "t5", "t6", "mode"),
)
_CONFIG = (
    *("isa", "zicbom_block_size", "mvendorid", "marchid", "mimpid"),
    *("zicboz_block_size", "satp_mode", "zicbop_block_size"),
)
_CSR = (
    *("sstatus", "sie", "stvec", "sscratch", "sepc", "scause", "stval", "sip", "satp"),
    *("scounteren", "senvcfg"),
)
_AIA = ("siselect", "iprio1", "iprio2", "sieh", "siph", "iprio1h", "iprio2h")
_ISA = (
    *("a", "c", "d", "f", "h", "i", "m", "svpbmt", "sstc", "svinval", "zihintpause", "zicbom", "zicboz", "zbb"),
    *("ssaia", "v", "svnapot", "zba", "zbs", "zicntr", "zicsr", "zifencei", "zihpm", "smstateen", "zicond", "zbc"),
    *("zbkb", "zbkc", "zbkx", "zknd", "zkne", "zknh", "zkr", "zksed", "zksh", "zkt", "zvbb", "zvbc", "zvkb", "zvkg"),
    *("zvkned", "zvknha", "zvknhb", "zvksed", "zvksh", "zvkt", "zfh", "zfhmin", "zihintntl", "zvfh", "zvfhmin"),
    *("zfa", "ztso", "zacas", "sscofpmf", "zimop", "zca", "zcb", "zcd", "zcf", "zcmop", "zawrs", "smnpm", "ssnpm"),
    *("svade", "svadu", "svvptc", "zabha", "ziccrse", "zaamo", "zalrsc", "zicbop", "zfbfmin", "zvfbfmin"),
    *("zvfbfwma", "zclsd", "zilsd", "zalasr"),
)
_SBI = (
    *("v01", "time", "ipi", "rfence", "srst", "hsm", "pmu", "experimental", "vendor", "dbcn", "sta", "susp"),
    *("fwft", "mpxy"),
)
_FWFT = tuple(
    f"{name}.{part}" for name in ("misaligned_deleg", "pointer_masking") for part in ("enable", "flags", "value")
)

_SINGLE_OR_SET = ("", "multi_en", "multi_dis")

TYPES = {
    0x01: Type("KVM_REG_RISCV_CONFIG", "config", "configuration", {0: _CONFIG}),
    0x02: Type("KVM_REG_RISCV_CORE", "core", "general register", {0: _CORE}),
    0x03: Type(
        "KVM_REG_RISCV_CSR",
        "csr",
        "control and status register",
        {0: _CSR, 1: _AIA, 2: ("sstateen0",)},
        ("", "aia", "smstateen"),
    ),
    0x04: Type("KVM_REG_RISCV_TIMER", "timer", "timer", {0: ("frequency", "time", "compare", "state")}),
    0x05: Type("KVM_REG_RISCV_FP_F", "fp_f", "32-bit float", {0: (*(f"f{n}" for n in range(32)), "fcsr")}),
    0x06: Type("KVM_REG_RISCV_FP_D", "fp_d", "64-bit float", {0: (*(f"f{n}" for n in range(32)), "fcsr")}),
    0x07: Type("KVM_REG_RISCV_ISA_EXT", "isa_ext", "ISA extension of the guest", {0: _ISA}, _SINGLE_OR_SET),
    0x08: Type("KVM_REG_RISCV_SBI_EXT", "sbi_ext", "SBI extension of the guest", {0: _SBI}, _SINGLE_OR_SET),
    0x09: Type(
        "KVM_REG_RISCV_VECTOR",
        "vector",
        "vector register",
        {0: ("vstart", "vl", "vtype", "vcsr", "vlenb", *(f"v{n}" for n in range(32)))},
    ),
    0x0A: Type(
        "KVM_REG_RISCV_SBI_STATE",
        "sbi_state",
        "state of an SBI extension",
        {0: ("shmem_lo", "shmem_hi"), 1: _FWFT},
        ("sta", "fwft"),
    ),
}


def kind(register_id: int) -> str:
    """The type in words."""
    number = register_id >> 24 & 0xFF
    known = TYPES.get(number)
    return f"type {number:#x} ({known.name if known else 'unknown'})"


def path_and_title(register_id: int) -> tuple[str, str]:
    """Where a register is shown, and what it is; an unknown one by its number."""
    known = TYPES.get(register_id >> 24 & 0xFF)
    subtype, index = register_id >> 16 & 0xFF, register_id & 0xFFFF
    if known is None:
        return f"reg.{register_id:#018x}", "RISC-V register of an unknown type"
    members = known.members.get(subtype, ())
    below = known.subtypes[subtype] if subtype < len(known.subtypes) else (str(subtype) if subtype else "")
    name = members[index] if index < len(members) else str(index)
    return ".".join(filter(None, ("riscv", known.path, below, name))), f"{known.title} ({known.name}), not decoded"
