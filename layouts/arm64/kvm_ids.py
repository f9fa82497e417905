"""KVM register ids of arm64 and 32-bit Arm: what a 64-bit id names, both ways.

Source: Linux ``include/uapi/linux/kvm.h`` (architecture, size, coprocessor) and
``arch/arm64/include/uapi/asm/kvm.h``.
"""

from __future__ import annotations

from typing import NamedTuple

from layouts.arm64.sysregs import Op, encoding_of, name_of

ARM64 = 0x60
ARM32 = 0x40

CORE = 0x10
DEMUX = 0x11
SYSREG = 0x13
FIRMWARE = 0x14
SVE = 0x15
FIRMWARE_BITMAP = 0x16

_COPROCESSORS = {
    CORE: "core register",
    DEMUX: "demultiplexed register",
    SYSREG: "system register",
    FIRMWARE: "firmware register",
    SVE: "SVE register",
    FIRMWARE_BITMAP: "firmware feature bitmap",
}

#: struct kvm_regs in units of 4 bytes: first offset, step, count, path.
_CORE_MEMBERS = (
    (0, 2, 31, "core.x[{n}]"),
    (62, 2, 1, "core.sp"),
    (64, 2, 1, "core.pc"),
    (66, 2, 1, "core.pstate"),
    (68, 2, 1, "core.sp_el1"),
    (70, 2, 1, "core.elr_el1"),
    (72, 2, 5, "core.spsr[{n}]"),
    (84, 4, 32, "core.v[{n}]"),
    (212, 1, 1, "core.fpsr"),
    (213, 1, 1, "core.fpcr"),
)

_FIRMWARE = {
    0: "PSCI_VERSION",
    1: "SMCCC_ARCH_WORKAROUND_1",
    2: "SMCCC_ARCH_WORKAROUND_2",
    3: "SMCCC_ARCH_WORKAROUND_3",
}
_BITMAPS = {0: "STD_BMAP", 1: "STD_HYP_BMAP", 2: "VENDOR_HYP_BMAP", 3: "VENDOR_HYP_BMAP_2"}

#: KVM_REG_ARM_TIMER_CNT and CVAL have each other's encoding (a mistake that became ABI).
TIMER_NOTES = {
    0x6030_0000_0013_DF1A: "KVM_REG_ARM_TIMER_CNT: in the KVM ABI this id is the virtual counter",
    0x6030_0000_0013_DF02: "KVM_REG_ARM_TIMER_CVAL: in the KVM ABI this id is the compare value",
}

SVE_VLS = 0x6060_0000_0015_FFFF


class RegisterId(NamedTuple):
    """An id taken apart. ``path`` is the field path; ``title`` says in words what it is."""

    id: int
    architecture: int
    size_bytes: int
    coprocessor: int
    path: str
    title: str
    name: str = ""


def sysreg_op(register_id: int) -> Op:
    """The encoding in the low 16 bits of a system register's id."""
    low = register_id & 0xFFFF
    return low >> 14 & 3, low >> 11 & 7, low >> 7 & 15, low >> 3 & 15, low & 7


def sysreg_id(op: Op) -> int:
    """The id of a system register."""
    op0, op1, crn, crm, op2 = op
    return 0x6030_0000_0013_0000 | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


def id_of_name(name: str) -> int | None:
    """The id of a system register by name (any case), or None."""
    op = encoding_of(name)
    return sysreg_id(op) if op else None


def explain(register_id: int) -> RegisterId:
    """What an id names. Never fails: what is unknown gets a path with its number."""
    architecture = register_id >> 56
    size_bytes = 1 << (register_id >> 52 & 15)
    coprocessor = register_id >> 16 & 0xFFF
    name = ""
    if architecture == ARM32:
        path, title = _arm32(register_id)
    elif architecture != ARM64:
        path, title = f"reg.{register_id:#018x}", "register of another architecture"
    elif coprocessor == SYSREG:
        name = name_of(sysreg_op(register_id))
        op = "op0={} op1={} CRn={} CRm={} op2={}".format(*sysreg_op(register_id))
        path, title = f"sysreg.{name}", TIMER_NOTES.get(register_id, f"system register, {op}")
    else:
        path, title = _PATHS.get(coprocessor, _unknown)(register_id)
    wanted = _size_bytes(register_id) if architecture == ARM64 else 0
    if wanted and wanted != size_bytes:
        title = f"{title}, whose size must be {wanted} bytes: KVM refuses this id, which says {size_bytes}"
        if coprocessor == FIRMWARE and size_bytes in (32, 256):
            title += " (SVE was proposed as this coprocessor, and merged as 0x15)"
        path, name = f"reg.{register_id:#018x}", ""
    return RegisterId(register_id, architecture, size_bytes, coprocessor, path, title, name)


def _size_bytes(register_id: int) -> int:
    """Bytes that an id of this coprocessor must say (KVM_GET_ONE_REG: ENOENT or EINVAL otherwise); 0: not known."""
    coprocessor, low = register_id >> 16 & 0xFFF, register_id & 0xFFFF
    if coprocessor == SVE:
        return 64 if low == SVE_VLS & 0xFFFF else (256 if low < 0x400 else 32)
    if coprocessor == CORE:
        member = next((row for row in reversed(_CORE_MEMBERS) if low >= row[0]), None)
        return 4 * member[1] if member else 0
    return {DEMUX: 4, SYSREG: 8, FIRMWARE: 8, FIRMWARE_BITMAP: 8}.get(coprocessor, 0)


def _unknown(register_id: int) -> tuple[str, str]:
    return f"reg.{register_id:#018x}", f"coprocessor {register_id >> 16 & 0xFFF:#x}"


def _core(register_id: int) -> tuple[str, str]:
    offset = register_id & 0xFFFF
    for first, step, count, pattern in _CORE_MEMBERS:
        number, rest = divmod(offset - first, step)
        if 0 <= number < count and not rest:
            return pattern.format(n=number), f"struct kvm_regs, byte {4 * offset}"
    return _unknown(register_id)


def _demux(register_id: int) -> tuple[str, str]:
    number = register_id & 0xFF
    level, kind = number >> 1, "instruction" if number & 1 else "data or unified"
    return f"demux.CCSIDR[{number}]", f"CCSIDR_EL1 of the level {level + 1} {kind} cache"


def _firmware(register_id: int) -> tuple[str, str]:
    name = _FIRMWARE.get(register_id & 0xFFFF)
    return (f"fw.{name}", "firmware register") if name else _unknown(register_id)


def _bitmap(register_id: int) -> tuple[str, str]:
    name = _BITMAPS.get(register_id & 0xFFFF)
    return (f"fw.{name}", "hypercalls that the guest may use") if name else _unknown(register_id)


def _sve(register_id: int) -> tuple[str, str]:
    if register_id == SVE_VLS:
        return "sve.vls", "vector lengths: bit vq-1 set = vq supported"
    low, number, part = register_id & 0xFFFF, register_id >> 5 & 31, register_id & 31
    suffix = f".slice[{part}]" if part else ""
    if low < 0x400:
        return f"sve.z[{number}]{suffix}", f"Z{number}, slice {part}: bits {2048 * part + 2047}:{2048 * part}"
    if low < 0x600:
        return f"sve.p[{number & 15}]{suffix}", f"P{number & 15}, slice {part}"
    if low < 0x620:
        return f"sve.ffr{suffix}", f"FFR, slice {part}"
    return _unknown(register_id)


_PATHS = {CORE: _core, DEMUX: _demux, FIRMWARE: _firmware, SVE: _sve, FIRMWARE_BITMAP: _bitmap}


def _arm32(register_id: int) -> tuple[str, str]:
    """QEMU's AArch32 view: cp, is64, CRn, CRm, op1, op2 (target/arm/kvm-consts.h)."""
    low = register_id & 0xFFFF
    crn, crm, op1, op2 = low >> 11 & 15, low >> 7 & 15, low >> 3 & 15, low & 7
    coprocessor = register_id >> 16 & 15
    bank = "ns" if register_id >> 29 & 1 else "s"
    name = f"cp{coprocessor}_{op1}_c{crn}_c{crm}_{op2}"
    return f"sysreg32.{bank}.{name}", f"AArch32 coprocessor register, bank {bank}"


def coprocessor_title(number: int) -> str:
    """What a coprocessor number stands for."""
    return _COPROCESSORS.get(number, "unknown coprocessor")
