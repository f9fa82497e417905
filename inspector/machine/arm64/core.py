"""Core registers of struct kvm_regs by their KVM ids.

Source: Linux arch/arm64/kvm/guest.c (get_core_reg, core_reg_size_from_offset, set_core_reg).
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, Host
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import CORE_MEMBERS, CORE_WORDS, PC, PFR1, PSTATE, X0, V, core_member_at
from layouts.arm64.registers import PSTATE as PSTATE_BITS
from layouts.light import cache
from layouts.register_id import size_bytes_of

#: Where the id says which register: all but architecture, size and coprocessor.
_OFFSET = 0xF000_FFFF
_RESET_PSTATE, _RESET_PSTATE_EL2, _RESET_PSTATE_32 = 0x3C5, 0x3C9, 0x1D3
_AARCH32_USER, _AARCH32 = 0x10, (0x11, 0x12, 0x13, 0x17, 0x1B, 0x1F)
_AARCH32_SYSTEM, _MODE32 = 0x1F, 0x10
_USER_REGISTERS, _REGISTERS = 15, 31
#: PSTATE as SPSR_EL2 has it for AArch64: mode, DAIF, IL, SS, PAN, UAO, DIT, TCO, NZCV; BTYPE and SSBS are features'.
_PSTATE, _BTYPE, _SSBS = 0xF3F0_03DF, PSTATE_BITS.field("BTYPE").mask, PSTATE_BITS.field("SSBS").mask
_EL2_MODES, _EL1_MODES = (0x8, 0x9), (0x0, 0x4, 0x5)


def check_id(register_id: int, *, has_sve: bool) -> int:
    """0, or the errno of a core register id: ENOENT outside struct kvm_regs, EINVAL for another size or place."""
    offset, size = register_id & _OFFSET, size_bytes_of(register_id)
    if offset >= CORE_WORDS or offset + size // 4 >= CORE_WORDS:
        return errno.ENOENT
    member = core_member_at(offset)
    if member is None or offset % member.step or size != member.size_bytes:
        return errno.EINVAL
    return errno.EINVAL if has_sve and member is V else 0


def register_ids(*, has_sve: bool) -> list[int]:
    """Every core register; V registers only without SVE, whose Z registers have them (copy_core_reg_indices)."""
    return list(_register_ids(has_sve))


@cache
def _register_ids(has_sve: bool) -> tuple[int, ...]:  # noqa: FBT001 - of the function above
    members = (member for member in CORE_MEMBERS if not (has_sve and member is V))
    return tuple(member.id(number) for member in members for number in range(member.count))


def reset_values(features: int) -> dict[int, bytes]:
    """What reset leaves: everything zero, but PSTATE."""
    pstate = _RESET_PSTATE
    if features & EL1_32BIT:
        pstate = _RESET_PSTATE_32
    elif features & HAS_EL2:
        pstate = _RESET_PSTATE_EL2
    return {PSTATE: pstate.to_bytes(8, "little")}


def narrow(values: dict[int, bytes]) -> None:
    """A vCPU in an AArch32 mode has 32-bit registers: X0 to X14 of user and system mode, all of others, and PC."""
    pstate = _value(values, PSTATE)
    if not pstate & _MODE32:
        return
    count = _USER_REGISTERS if pstate & 0x1F in (_AARCH32_USER, _AARCH32_SYSTEM) else _REGISTERS
    for register_id in (*range(X0, X0 + 2 * count, 2), PC):
        if register_id in values:
            values[register_id] = values[register_id][:4].ljust(8, b"\0")


def skip_instruction(values: dict[int, bytes]) -> None:
    """PC goes on behind the instruction that was emulated (kvm_incr_pc)."""
    values[PC] = (_value(values, PC) + 4 & (1 << 64) - 1).to_bytes(8, "little")


def enter(values: dict[int, bytes], host: Host) -> None:
    """The processor loads PSTATE from SPSR_EL2: bits that it does not have are gone."""
    pstate = _value(values, PSTATE)
    if not pstate & _MODE32:
        pfr1 = host.limits.get(PFR1, 0)
        has = _PSTATE | (_BTYPE if of.PFR1_BT.get(pfr1) else 0) | (_SSBS if of.PFR1_SSBS.get(pfr1) else 0)
        values[PSTATE] = (pstate & has).to_bytes(8, "little")


def _value(values: dict[int, bytes], register_id: int) -> int:
    return int.from_bytes(values.get(register_id, b""), "little")


def mode_allowed(pstate: int, features: int, *, has_aarch32: bool) -> bool:
    """The mode of PSTATE is one that such a vCPU can be in."""
    mode, is_32bit = pstate & 0x1F, bool(features & EL1_32BIT)
    if mode == _AARCH32_USER:
        return has_aarch32
    if mode in _AARCH32:
        return is_32bit
    if mode in _EL2_MODES and not features & HAS_EL2:
        return False
    return mode in (*_EL2_MODES, *_EL1_MODES) and not is_32bit
