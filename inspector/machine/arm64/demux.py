"""CCSIDR_EL1 by cache: the demultiplexed registers.

Source: Linux arch/arm64/kvm/sys_regs.c: demux_c15_get, demux_c15_set, get_ccsidr, set_ccsidr. Since 6.3 KVM makes
the values up from CTR_EL0's line sizes, and each vCPU may have its own; before, they were the hardware's.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.host import Host
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import CACHES, CCSIDR, CTR, RegisterId

#: Architecture, size, coprocessor and the 16 bits within it.
_KNOWN_BITS = 0xFFF0_0000_0FFF_FFFF
_U32 = 4
_ID_MASK, _SELECT_MASK = 0xFF00, 0xFF
_SOURCE = "demux_c15_get, demux_c15_set (sys_regs.c)"


def _found(rule: Rule, host: Host, register_id: int) -> bool:
    return (
        rule.check("no unknown bit", not register_id & ~_KNOWN_BITS)
        and rule.check("the register is CCSIDR, of 4 bytes", not register_id & _ID_MASK and _is_u32(register_id))
        and rule.check(f"the cache is one of {CACHES}", register_id & _SELECT_MASK < CACHES)
        and (host.kernel.virtual_caches or rule.check("the hardware has this cache", register_id in host.registers))
    )


def _is_u32(register_id: int) -> bool:
    return RegisterId(register_id).size_bytes == _U32


def register_ids(host: Host) -> list[int]:
    """The caches: all that may be, or those of the hardware on old kernels."""
    found = [CCSIDR | cache for cache in range(CACHES)]
    return (
        found if host.kernel.virtual_caches else [register_id for register_id in found if register_id in host.registers]
    )


def default(host: Host, register_id: int) -> int:
    """What the register holds until somebody writes it: one set, one way, lines as CTR_EL0 says."""
    if not host.kernel.virtual_caches:
        return int.from_bytes(host.registers[register_id], "little")
    # SYS_FIELD_PREP of get_ccsidr keeps the field's three bits, also of a CTR_EL0 that tells less than 16 bytes.
    return (_least_line(host, register_id) - 4) & 7


def _least_line(host: Host, register_id: int) -> int:
    """The base 2 logarithm of the line size in bytes (get_min_cache_line_size)."""
    ctr = host.sanitised.get(CTR, host.limits.get(CTR, 0))
    return (of.CTR_IMINLINE if register_id & 1 else of.CTR_DMINLINE).get(ctr) + 2


def get(host: Host, register_id: int, values: dict[int, bytes]) -> Outcome:
    """KVM_GET_ONE_REG; the image is 4 bytes, little-endian."""
    rule = Rule(_SOURCE)
    if not _found(rule, host, register_id):
        return rule.refuse(errno.ENOENT)
    data = values.get(register_id) or default(host, register_id).to_bytes(4, "little")
    return rule.ok(int.from_bytes(data, "little"), data)


def put(host: Host, register_id: int, value: int | None, values: dict[int, bytes]) -> Outcome:
    """KVM_SET_ONE_REG. Before 6.3 only the hardware's value; since then any with lines that are long enough.

    None: a pointer that cannot be read.
    """
    rule = Rule(_SOURCE)
    if not _found(rule, host, register_id):
        return rule.refuse(errno.ENOENT)
    if value is None:
        rule.check("the pointer can be read", held=False)
        return rule.refuse(errno.EFAULT)
    if not host.kernel.virtual_caches:
        if not rule.check("the value is the hardware's", value == default(host, register_id)):
            return rule.refuse(errno.EINVAL)
        return rule.ok()
    least = _least_line(host, register_id)
    if not rule.check(f"a line has at least {1 << least} bytes", (value & 7) + 4 >= least):
        return rule.refuse(errno.EINVAL)
    values[register_id] = value.to_bytes(4, "little")
    return rule.ok()
