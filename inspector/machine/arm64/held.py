"""What system registers hold that are no ID registers: after reset, and when they are written.

Source: Linux arch/arm64/kvm/sys_regs.c (sys_reg_descs: ``reset``, ``get_user``, ``set_user``; reset_actlr, reset_hcr,
reset_mdcr, set_oslsr_el1); the PMU's are in :mod:`inspector.machine.arm64.pmu`, timers' in
:mod:`inspector.machine.arm64.timers`, the masks of EL2's registers in :mod:`inspector.machine.arm64.el2_masks`.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import pmu, timers
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.host import HAS_EL2, Host
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import MMFR4, OSLSR, encoding_of_op, sysreg_id
from layouts.arm64.listed import plain
from layouts.arm64.sysregs import encodings

#: OSLSR_EL1: the OS lock is there, and it is locked.
_OSLM_IMPLEMENTED, _OSLK = 1 << 3, 1 << 1
_E2H = 1 << 34
#: ID_AA64MMFR4_EL1.E2H0 is signed: below 0, HCR_EL2.NV1 is RES0.
_SIGNED = 8
_ACTLR, _HCR, _MDCR, _ICH_HCR = (
    encoding_of_op(encodings()[name]) for name in ("ACTLR_EL1", "HCR_EL2", "MDCR_EL2", "ICH_HCR_EL2")
)


def is_known(vcpu: VcpuArch, encoding: int) -> bool:
    """What a listed register holds follows from rules: not from the host's clock, nor from its GIC.

    ICH_HCR_EL2.TDIR is RES0 where ICH_VTR_EL2.TDS of the host says so (kvm_init_nv_sysregs).
    """
    if encoding in timers.COUNTERS or (encoding == _ICH_HCR and vcpu.vm.el2_masks):
        return False
    return reset_value(vcpu, encoding) is not None


def is_clock(encoding: int) -> bool:
    """The register counts with the host's clock."""
    return encoding in timers.COUNTERS


def reset_value(vcpu: VcpuArch, encoding: int) -> int | None:
    """What the register reads now if nobody wrote it; None where no rule says so."""
    if pmu.is_special(vcpu, encoding):
        return pmu.value(vcpu, encoding)
    if timers.is_special(encoding):
        return timers.value(vcpu, encoding)
    found = plain(vcpu.host.kernel.name).get(sysreg_id(encoding))
    if found is None:
        found = _of_host(vcpu, encoding)
    return None if found is None else _masked(vcpu, encoding, found)


def _masked(vcpu: VcpuArch, encoding: int, value: int) -> int:
    """A value through the masks of a VM with EL2 that has run (kvm_vcpu_apply_reg_masks)."""
    if not vcpu.vm.el2_masks or not vcpu.features & HAS_EL2:
        return value
    mask = vcpu.vm.el2_masks.get(encoding)
    return value if mask is None else mask.of(value)


def finalize_el2(vcpu: VcpuArch) -> None:
    """The masks of a VM with EL2, at the first KVM_RUN, and what the vCPU holds through them (kvm_init_nv_sysregs)."""
    from inspector.machine.arm64 import el2_masks

    vm = vcpu.vm
    vm.el2_masks = vm.el2_masks or el2_masks.masks(vm.host.kernel.name, vm.id_registers)
    for encoding, mask in vm.el2_masks.items():
        register_id = sysreg_id(encoding)
        if register_id in vcpu.values:
            held = int.from_bytes(vcpu.values[register_id], "little")
            vcpu.values[register_id] = mask.of(held).to_bytes(8, "little")


def _of_host(vcpu: VcpuArch, encoding: int) -> int | None:
    """Registers whose reset looks at the host: ACTLR_EL1 is the CPU's own."""
    host = vcpu.host
    if encoding == _ACTLR:
        return int.from_bytes(host.registers.get(sysreg_id(_ACTLR), b""), "little")
    if encoding == _HCR:
        return 0 if has_nv1(host) else _E2H
    return vcpu.vm.pmu_counters if encoding == _MDCR else None


def has_nv1(host: Host) -> bool:
    """HCR_EL2.NV1 is no RES0 (has_nv1 of kernel/cpufeature.c)."""
    return of.MMFR4_E2H0.get(host.sanitised.get(MMFR4, host.limits.get(MMFR4, 0))) < _SIGNED


def get(vcpu: VcpuArch, encoding: int) -> bytes:
    """The register's bytes; of a captured host what it was seen to hold where no rule says more."""
    if pmu.is_special(vcpu, encoding):
        return pmu.value(vcpu, encoding).to_bytes(8, "little")
    if timers.is_special(encoding):
        return timers.value(vcpu, encoding).to_bytes(8, "little")
    register_id = sysreg_id(encoding)
    written = vcpu.values.get(register_id)
    if written is not None:
        return written
    value = reset_value(vcpu, encoding)
    return vcpu.host.registers.get(register_id, bytes(8)) if value is None else value.to_bytes(8, "little")


def put(rule: Rule, vcpu: VcpuArch, encoding: int, value: int) -> Outcome:
    """KVM_SET_ONE_REG of a register that the vCPU has."""
    if pmu.is_special(vcpu, encoding):
        return pmu.put(rule, vcpu, encoding, value)
    if timers.is_special(encoding):
        timers.put(vcpu, encoding, value)
        return rule.ok()
    others = value & ~_OSLK
    if encoding == OSLSR and not rule.check("only OSLSR_EL1.OSLK changes", others == _OSLM_IMPLEMENTED):
        return rule.refuse(errno.EINVAL)
    vcpu.values[sysreg_id(encoding)] = _masked(vcpu, encoding, value).to_bytes(8, "little")
    return rule.ok()
