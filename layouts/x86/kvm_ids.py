"""KVM register ids of x86: MSRs and the registers that KVM defines, for KVM_GET_ONE_REG.

An id is the architecture, the size (always 64 bits so far), a type in bits 39:32 and an index.
Source: Linux 7.3 ``arch/x86/include/uapi/asm/kvm.h``, struct kvm_x86_reg_id and KVM_X86_REG_TYPE_*.
"""

from __future__ import annotations

from layouts.register_id import RegisterId
from layouts.x86.msrs import msr_name

ARCHITECTURE = 0x20

TYPE_MSR = 2
TYPE_KVM = 3
_TYPES = {TYPE_MSR: "KVM_X86_REG_TYPE_MSR", TYPE_KVM: "KVM_X86_REG_TYPE_KVM"}

#: Registers that KVM defines, as index: path and title.
KVM_REGISTERS = {0: ("shstk.ssp", "KVM_REG_GUEST_SSP: the guest's shadow stack pointer")}


def kind(register_id: int) -> str:
    """The type in words."""
    number = register_id >> 32 & 0xFF
    return f"type {number} ({_TYPES.get(number, 'unknown')})"


def msr_number(register_id: int) -> int | None:
    """The MSR that an id names, if it names one."""
    is_msr = RegisterId(register_id).architecture == ARCHITECTURE and register_id >> 32 & 0xFF == TYPE_MSR
    return register_id & 0xFFFF_FFFF if is_msr else None


def path_and_title(register_id: int) -> tuple[str, str]:
    """Where a register is shown, and what it is; an unknown one by its number."""
    number, index = register_id >> 32 & 0xFF, register_id & 0xFFFF_FFFF
    if RegisterId(register_id).size_bytes == 8 and not register_id >> 40 & 0xFFF:
        if number == TYPE_MSR:
            return f"msr.{msr_name(index)}", f"MSR {index:#x}"
        if number == TYPE_KVM and index in KVM_REGISTERS:
            return KVM_REGISTERS[index]
    return f"reg.{register_id:#018x}", "no register that KVM defines"
