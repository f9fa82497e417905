"""Core registers of struct kvm_regs by their KVM ids.

Source: Linux arch/arm64/kvm/guest.c (get_core_reg, core_reg_size_from_offset, set_core_reg).
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2

_BASE = 0x10
_WORDS = 864 // 4
_SIZE_SHIFT = 52
X0, PC, PSTATE = (0x6030_0000_0010_0000 | offset for offset in (0, 0x40, 0x42))
_V0_OFFSET, _V_WORDS, _FPSR, _FPCR = 0x54, 4, 0xD4, 0xD5
_RESET_PSTATE, _RESET_PSTATE_EL2, _RESET_PSTATE_32 = 0x3C5, 0x3C9, 0x1D3
_AARCH32_USER, _AARCH32 = 0x10, (0x11, 0x12, 0x13, 0x17, 0x1B, 0x1F)
_EL2_MODES, _EL1_MODES = (0x8, 0x9), (0x0, 0x4, 0x5)


def size_of(register_id: int) -> int:
    """Size in bytes that the id says."""
    return 1 << (register_id >> _SIZE_SHIFT & 15)


def v_id(number: int) -> int:
    """The id of Vn."""
    return 0x6040_0000_0010_0000 | _V0_OFFSET + _V_WORDS * number


def check_id(register_id: int, *, has_sve: bool) -> int:
    """0, or the errno of a core register id: ENOENT outside struct kvm_regs, EINVAL for another size or place."""
    offset, size = register_id & 0xFFFF, size_of(register_id)
    if offset >= _WORDS or offset + size // 4 >= _WORDS:
        return errno.ENOENT
    expected = _size_at(offset)
    if not expected or offset % (expected // 4) or size != expected:
        return errno.EINVAL
    is_v = _V0_OFFSET <= offset < _FPSR
    return errno.EINVAL if has_sve and is_v else 0


def register_ids(*, has_sve: bool) -> list[int]:
    """Every core register; V registers only without SVE, whose Z registers have them (copy_core_reg_indices)."""
    found = []
    for offset in range(_WORDS):
        size = _size_at(offset)
        register_id = 0x6000_0000_0010_0000 | (size.bit_length() - 1) << _SIZE_SHIFT | offset
        if size and not check_id(register_id, has_sve=has_sve):
            found.append(register_id)
    return found


def _size_at(offset: int) -> int:
    """Size of the member at an offset in 4-byte units; 0 between members."""
    if offset < 0x52:
        return 8
    if _V0_OFFSET <= offset < _FPSR:
        return 16
    return 4 if offset in (_FPSR, _FPCR) else 0


def reset_values(features: int) -> dict[int, bytes]:
    """What reset leaves: everything zero, but PSTATE."""
    pstate = _RESET_PSTATE
    if features & EL1_32BIT:
        pstate = _RESET_PSTATE_32
    elif features & HAS_EL2:
        pstate = _RESET_PSTATE_EL2
    return {PSTATE: pstate.to_bytes(8, "little")}


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
