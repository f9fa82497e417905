"""KVM register ids of arm64 and 32-bit Arm: what a 64-bit id names, both ways.

Source: Linux ``include/uapi/linux/kvm.h`` (architecture, size, coprocessor) and
``arch/arm64/include/uapi/asm/kvm.h``.
"""

from __future__ import annotations

from layouts import register_id
from layouts.arm64.ids import (
    ARM32,
    ARM64,
    CORE,
    DEMUX,
    FIRMWARE,
    FIRMWARE_BITMAP,
    FIRMWARE_NAMES,
    SVE,
    SVE_FFR,
    SVE_P0,
    SVE_STEP,
    SVE_VLS,
    SVE_Z0,
    SYSREG,
    RegisterId,
    core_member_at,
    encoding_of_op,
    op_of_encoding,
    sysreg_id,
)
from layouts.arm64.sysregs import encoding_of, name_of
from layouts.light import NamedTuple

_COPROCESSORS = {
    CORE: "core register",
    DEMUX: "demultiplexed register",
    SYSREG: "system register",
    FIRMWARE: "firmware register",
    SVE: "SVE register",
    FIRMWARE_BITMAP: "firmware feature bitmap",
}

#: KVM_REG_ARM_TIMER_CNT and CVAL have each other's encoding (a mistake that became ABI).
TIMER_NOTES = {
    sysreg_id(0xDF1A): "KVM_REG_ARM_TIMER_CNT: in the KVM ABI this id is the virtual counter",
    sysreg_id(0xDF02): "KVM_REG_ARM_TIMER_CVAL: in the KVM ABI this id is the compare value",
}
_FIRMWARE_TITLES = {FIRMWARE: "firmware register", FIRMWARE_BITMAP: "hypercalls that the guest may use"}
#: Sizes that the first series had SVE registers in, as the coprocessor that firmware registers have.
_PROPOSED_SVE = (32, 256)


class Explained(NamedTuple):
    """An id taken apart. ``path`` is the field path; ``title`` says in words what it is; ``name`` is Arm's."""

    id: register_id.RegisterId
    path: str
    title: str
    name: str = ""

    @property
    def size_bytes(self) -> int:
        """The size that the id says."""
        return self.id.size_bytes


def id_of_name(name: str) -> RegisterId | None:
    """The id of a system register by name (any case), or None."""
    op = encoding_of(name)
    return sysreg_id(encoding_of_op(op)) if op else None


def explain(number: int) -> Explained:
    """What an id names. Never fails: what is unknown gets a path with its number."""
    found = RegisterId(number)
    if found.architecture == ARM32:
        return Explained(found, *_arm32(found))
    if found.architecture != ARM64:
        return Explained(found, _path_of_unknown(found), "register of another architecture")
    path, title = _PATHS.get(found.coprocessor, _unknown)(found)
    wanted = _size_bytes(found)
    if wanted and wanted != found.size_bytes:
        title = f"{title}, whose size must be {wanted} bytes: KVM refuses this id, which says {found.size_bytes}"
        if found.coprocessor == FIRMWARE and found.size_bytes in _PROPOSED_SVE:
            title += f" (SVE was proposed as this coprocessor, and merged as {SVE:#x})"
        return Explained(found, _path_of_unknown(found), title)
    return Explained(found, path, title, _name(found) if found.coprocessor == SYSREG else "")


def _size_bytes(found: RegisterId) -> int:
    """Bytes that an id of this coprocessor must say (KVM_GET_ONE_REG: ENOENT or EINVAL otherwise); 0: not known."""
    if found.coprocessor == SVE:
        if found.encoding == SVE_VLS.encoding:
            return SVE_VLS.size_bytes
        return (SVE_Z0 if found.encoding < SVE_P0.encoding else SVE_P0).size_bytes
    if found.coprocessor == CORE:
        member = core_member_at(found.encoding)
        return member.size_bytes if member else 0
    return {DEMUX: 4, SYSREG: 8, FIRMWARE: 8, FIRMWARE_BITMAP: 8}.get(found.coprocessor, 0)


def _path_of_unknown(found: int) -> str:
    return f"reg.{found:#018x}"


def _unknown(found: RegisterId) -> tuple[str, str]:
    return _path_of_unknown(found), f"coprocessor {found.coprocessor:#x}"


def _name(found: RegisterId) -> str:
    return name_of(op_of_encoding(found.encoding))


def _sysreg(found: RegisterId) -> tuple[str, str]:
    op = "op0={} op1={} CRn={} CRm={} op2={}".format(*op_of_encoding(found.encoding))
    return f"sysreg.{_name(found)}", TIMER_NOTES.get(found, f"system register, {op}")


def _core(found: RegisterId) -> tuple[str, str]:
    word = found.encoding
    member = core_member_at(word)
    if member is None or (word - member.first) % member.step:
        return _unknown(found)
    return member.path.format(n=(word - member.first) // member.step), f"struct kvm_regs, byte {4 * word}"


def _demux(found: RegisterId) -> tuple[str, str]:
    number = found & 0xFF
    level, kind = number >> 1, "instruction" if number & 1 else "data or unified"
    return f"demux.CCSIDR[{number}]", f"CCSIDR_EL1 of the level {level + 1} {kind} cache"


def _firmware(found: RegisterId) -> tuple[str, str]:
    names = FIRMWARE_NAMES[found.coprocessor]
    if found.encoding >= len(names):
        return _unknown(found)
    return f"fw.{names[found.encoding]}", _FIRMWARE_TITLES[found.coprocessor]


def _sve(found: RegisterId) -> tuple[str, str]:
    if found == SVE_VLS:
        return "sve.vls", "vector lengths: bit vq-1 set = vq supported"
    low = found.encoding
    number, part = low // SVE_STEP % 32, low % SVE_STEP
    suffix = f".slice[{part}]" if part else ""
    if low < SVE_P0.encoding:
        return f"sve.z[{number}]{suffix}", f"Z{number}, slice {part}: bits {2048 * part + 2047}:{2048 * part}"
    if low < SVE_FFR.encoding:
        return f"sve.p[{number & 15}]{suffix}", f"P{number & 15}, slice {part}"
    if low < SVE_FFR.encoding + SVE_STEP:
        return f"sve.ffr{suffix}", f"FFR, slice {part}"
    return _unknown(found)


_PATHS = {
    CORE: _core,
    DEMUX: _demux,
    SYSREG: _sysreg,
    FIRMWARE: _firmware,
    SVE: _sve,
    FIRMWARE_BITMAP: _firmware,
}


def _arm32(found: RegisterId) -> tuple[str, str]:
    """QEMU's AArch32 view: cp, is64, CRn, CRm, op1, op2 (target/arm/kvm-consts.h)."""
    low = found.encoding
    crn, crm, op1, op2 = low >> 11 & 15, low >> 7 & 15, low >> 3 & 15, low & 7
    bank = "ns" if found >> 29 & 1 else "s"
    name = f"cp{found.coprocessor & 15}_{op1}_c{crn}_c{crm}_{op2}"
    return f"sysreg32.{bank}.{name}", f"AArch32 coprocessor register, bank {bank}"


def coprocessor_title(number: int) -> str:
    """What a coprocessor number stands for."""
    return _COPROCESSORS.get(number, "unknown coprocessor")
