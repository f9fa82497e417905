"""What Linux shows its own processes of the ID registers: MRS at EL0 traps, and the kernel answers.

Source: Linux arch/arm64/kernel/cpufeature.c (emulate_sys_reg, is_emulated, emulate_id_reg, init_cpu_ftr_reg,
arm64_ftr_reg_user_value, has_mismatched_cache_type).
"""

from __future__ import annotations

from inspector.machine.arm64.host import Host
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import CTR, DCZID, MIDR, MPIDR, PFR1, REVIDR, op_of_encoding
from layouts.arm64.mitigations import SPECULATIVE_SSBS
from layouts.arm64.user_visible import hides_speculative_ssbs, visible_fields

#: SYS_MPIDR_SAFE_VAL.
_MPIDR_SAFE = 1 << 31
#: CRm of what is emulated, beside 0: AArch32's registers too, but on an old 5.10.y (5.10.223 is recorded).
_FIRST, _FIRST_OF_OLD, _LAST = 2, 4, 7
_SSBS_LSB = of.PFR1_SSBS.lsb


def mrs(host: Host, encoding: int) -> int | None:
    """The value that a process reads; None: SIGILL. CTR_EL0 and DCZID_EL0 are the first CPU's own."""
    if encoding in (CTR, DCZID):
        return host.bare_ctr if encoding == CTR else host.bare_dczid
    op0, op1, crn, crm, _ = op_of_encoding(encoding)
    if (op0, op1, crn) != (3, 0, 0):
        return None
    if not crm:
        return {MIDR: host.limits.get(MIDR, 0), MPIDR: _MPIDR_SAFE, REVIDR: host.limits.get(REVIDR, 0)}.get(encoding)
    first = _FIRST if host.kernel.mte else _FIRST_OF_OLD
    return user_value(host, encoding) if first <= crm <= _LAST else None


def user_value(host: Host, encoding: int) -> int:
    """Visible fields as the kernel has them, the others at their safe values; an untracked register is 0."""
    kernel, sanitised = host.kernel, host.sanitised.get(encoding, 0)
    register = kernel.registers.get(encoding)
    shown = visible_fields(kernel.name).get(register.name, frozenset()) if register is not None else frozenset()
    if encoding == PFR1 and _has_bad_ssbs(host):
        shown -= {_SSBS_LSB}
    found = 0
    for field in kernel.fields.get(encoding, ()):
        mask = (1 << field.width) - 1
        found |= (sanitised >> field.lsb & mask if field.lsb in shown else field.safe_value & mask) << field.lsb
    return found


def _has_bad_ssbs(host: Host) -> bool:
    midr = host.limits.get(MIDR, 0)
    part = of.MIDR_IMPLEMENTER.get(midr), of.MIDR_PARTNUM.get(midr)
    return part in SPECULATIVE_SSBS and hides_speculative_ssbs(host.kernel.name)
