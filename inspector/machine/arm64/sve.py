"""SVE through KVM: which vector-length sets a vCPU may have, and where a register's slices lie.

Two interfaces: ``merged`` (Linux 5.2 and later: the pseudo-register KVM_REG_ARM64_SVE_VLS, and finalization)
and ``proposal`` (the first series: a pair of ioctls, no finalization, V registers visible).
Source: Linux arch/arm64/kvm/guest.c (set_sve_vls, sve_reg_to_region); kvm/reset.c.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from inspector.machine.outcome import Outcome, Rule

VQ_BYTES = 16
_VQ_MAX = 16
#: KVM_ARM_VCPU_SVE, as KVM_ARM_VCPU_FINALIZE takes it.
FINALIZE = 4
#: KVM_REG_ARM64_SVE_VLS: a set of 512 bits, bit vq-1 for each vq.
SVE_VLS = 0x6060_0000_0015_FFFF
VLS_SIZE_BYTES = 64
_Z_SIZE_BYTES, _P_SIZE_BYTES = 256, 32
_Z_MIN, _Z_MAX = 0x6080_0000_0015_0000, 0x6080_0000_0015_03FF
_P_MIN, _FFR_MAX = 0x6050_0000_0015_0400, 0x6050_0000_0015_061F
_SLICE, _NUMBER = 0x1F, 0x3E0


def lengths_bytes(vqs: int) -> list[int]:
    """The vector lengths of a set, in bytes, shortest first."""
    return [vq * VQ_BYTES for vq in range(1, _VQ_MAX + 1) if vqs >> (vq - 1) & 1]


def check_vls(vqs: int, host_vqs: int) -> Outcome:
    """A set of vector lengths: exactly the host's up to a maximum. The value is that maximum, as vq."""
    rule = Rule("set_sve_vls (guest.c)")
    most = vqs.bit_length()
    available = host_vqs.bit_length()
    held = (
        rule.check(f"no vq above the host's largest ({available})", most <= available)
        and rule.check(
            "up to the largest, exactly the host's: none hidden, none added", vqs == host_vqs & ((1 << most) - 1)
        )
        and rule.check("at least one vector length", most)
    )
    return rule.ok(most) if held else rule.refuse(errno.EINVAL)


class Region(NamedTuple):
    """A slice of a Z or P register or FFR: which, its size as a register and how many bytes of it are real."""

    name: str
    size_bytes: int
    real_bytes: int


def register_ids() -> list[int]:
    """The vector-length set, Z0-Z31, P0-P15 and FFR, slice 0 of each (copy_sve_reg_indices)."""
    step = _SLICE + 1
    return [*range(_P_MIN, _FFR_MAX, step), SVE_VLS, *range(_Z_MIN, _Z_MAX, step)]


def region_of(register_id: int, vq: int) -> tuple[Region | None, int]:
    """The region of an SVE register id, or None and the errno: ENOENT for slices that no vq reaches, else EINVAL."""
    is_z, is_p = _Z_MIN <= register_id <= _Z_MAX, _P_MIN <= register_id <= _FFR_MAX
    if not (is_z or is_p):
        return None, errno.EINVAL
    if register_id & _SLICE:
        return None, errno.ENOENT
    if is_z:
        number = (register_id & _NUMBER) >> 5
        return Region(f"z{number}", _Z_SIZE_BYTES, min(vq * VQ_BYTES, _Z_SIZE_BYTES)), 0
    number = (register_id & _NUMBER) >> 5
    name = "ffr" if register_id >= _FFR_MAX - _SLICE else f"p{number}"
    return Region(name, _P_SIZE_BYTES, min(vq * VQ_BYTES // 8, _P_SIZE_BYTES)), 0
