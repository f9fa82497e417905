"""SVE through KVM: which vector-length sets a vCPU may have, and where a register's slices lie.

Two interfaces: ``merged`` (Linux 5.2 and later: the pseudo-register KVM_REG_ARM64_SVE_VLS, and finalization)
and ``proposal`` (the first series: a pair of ioctls, no finalization, V registers visible).
Source: Linux arch/arm64/kvm/guest.c (set_sve_vls, sve_reg_to_region); kvm/reset.c.
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.ids import SVE_FFR, SVE_P0, SVE_STEP, SVE_VLS, SVE_Z0
from layouts.light import NamedTuple, cache

VQ_BYTES = 16
_VQ_MAX = 16
#: KVM_ARM_VCPU_SVE, as KVM_ARM_VCPU_FINALIZE takes it.
FINALIZE = 4
VLS_SIZE_BYTES = SVE_VLS.size_bytes
_Z_COUNT, _P_COUNT = 32, 16
_Z = range(SVE_Z0, SVE_Z0 + _Z_COUNT * SVE_STEP)
_P_AND_FFR = range(SVE_P0, SVE_FFR + SVE_STEP)


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


@cache
def accepted_vls(host_vqs: int) -> frozenset[int]:
    """Of the sets of vq 1 to 16 those that a vCPU may have."""
    return frozenset(vqs for vqs in range(1 << _VQ_MAX) if check_vls(vqs, host_vqs).accepted)


class Region(NamedTuple):
    """A slice of a Z or P register or FFR: which, its size as a register and how many bytes of it are real."""

    name: str
    size_bytes: int
    real_bytes: int


def register_ids() -> list[int]:
    """In the order of KVM_GET_REG_LIST: vector lengths, Z0-Z31, P0-P15, FFR, slice 0 of each (copy_sve_reg_indices)."""
    return [SVE_VLS, *_Z[::SVE_STEP], *_P_AND_FFR[::SVE_STEP]]


def is_register(register_id: int) -> bool:
    """The id is within those of Z and P registers, FFR, or the vector lengths; of any slice."""
    return register_id in _Z or register_id in _P_AND_FFR or register_id == SVE_VLS


def region_of(register_id: int, vq: int) -> tuple[Region | None, int]:
    """The region of an SVE register id, or None and the errno: ENOENT for slices that no vq reaches, else EINVAL."""
    is_z = register_id in _Z
    if not is_z and register_id not in _P_AND_FFR:
        return None, errno.EINVAL
    number, piece = divmod(register_id - (_Z.start if is_z else _P_AND_FFR.start), SVE_STEP)
    if piece:
        return None, errno.ENOENT
    if is_z:
        return Region(f"z{number}", SVE_Z0.size_bytes, min(vq * VQ_BYTES, SVE_Z0.size_bytes)), 0
    name = "ffr" if register_id == SVE_FFR else f"p{number}"
    return Region(name, SVE_P0.size_bytes, min(vq * VQ_BYTES // 8, SVE_P0.size_bytes)), 0
