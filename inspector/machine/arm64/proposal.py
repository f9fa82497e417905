"""SVE's interface as it was first proposed, where it differs from the merged one.

SVE registers have coprocessor 0x14, which firmware registers got a few months later: the two differ by size alone. Zn
and Vn are both visible, and bits [127:0] of Zn always are Vn. ZCR_EL1 is not hidden. The set of vector lengths has two
ioctls and no register, and nothing is finalized. Source: Dave Martin, "KVM API extensions for SVE" (kvmarm, 2017).
"""

from __future__ import annotations

from inspector.machine.arm64.arch import VcpuArch
from layouts.arm64 import ids
from layouts.arm64.ids import RegisterId, V

#: The other coprocessor in an id.
_OTHER = (ids.SVE ^ ids.FIRMWARE) << 16
_SIZES = (ids.SVE_Z0.size_bytes, ids.SVE_P0.size_bytes)
#: A coprocessor that nobody has.
_NOBODYS = (ids.SVE ^ 0x17) << 16
_V_BYTES = 16


def is_proposed(vcpu: VcpuArch) -> bool:
    """The vCPU is asked through the proposal's interface."""
    return vcpu.vm.abi == "proposal"


def as_proposed(register_id: int) -> int:
    """The proposal's id of an SVE register of the merged interface; every other id as it is."""
    return register_id ^ _OTHER if RegisterId(register_id).coprocessor == ids.SVE else register_id


def as_merged(register_id: int) -> int:
    """The merged id of one of the proposal's; what is an SVE register only today is nobody's."""
    found = RegisterId(register_id)
    if found.coprocessor == ids.FIRMWARE and found.size_bytes in _SIZES:
        return register_id ^ _OTHER
    return register_id ^ _NOBODYS if found.coprocessor == ids.SVE else register_id


def follow_z(vcpu: VcpuArch, number: int, data: bytes) -> None:
    """Zn was written: Vn is its low 128 bits."""
    vcpu.values[V.id(number)] = data[:_V_BYTES].ljust(_V_BYTES, b"\0")


def follow_v(vcpu: VcpuArch, register_id: int, data: bytes) -> None:
    """A core register was written: where it is a Vn, the low 128 bits of Zn are."""
    number = (RegisterId(register_id).encoding - V.first) // V.step
    if RegisterId(register_id).encoding in V and vcpu.has_sve:
        above = vcpu.sve.get(f"z{number}", b"")[_V_BYTES:]
        vcpu.sve[f"z{number}"] = data[:_V_BYTES] + above
