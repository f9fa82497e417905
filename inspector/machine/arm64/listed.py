"""KVM_GET_REG_LIST: the ids of every register that a vCPU has, in the kernel's order.

Source: Linux arch/arm64/kvm/guest.c (kvm_arm_copy_reg_indices), sys_regs.c (kvm_arm_copy_sys_reg_indices and the
``*_visibility`` functions, after which the conditions here are named).
"""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.arm64 import core, demux, firmware, proposal, sve
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.host import HAS_EL2, HAS_EL2_E2H0, PMU_V3, PTRAUTH, SVE
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import SVE_VLS, encoding_of_op
from layouts.arm64.listed import ALWAYS, condition, listed
from layouts.arm64.sysregs import id_registers


def register_ids(vcpu: VcpuArch) -> list[int]:
    """Core registers, SVE, firmware, (timers and invariant registers,) system registers, caches."""
    found = core.register_ids(has_sve=vcpu.has_sve and vcpu.vm.abi == "merged")
    found += sve_ids(vcpu)
    found += [one for one in firmware.register_ids(vcpu.host) if firmware.get(vcpu, one).accepted]
    found += system_register_ids(vcpu)
    return found + demux.register_ids(vcpu.host)


def sve_ids(vcpu: VcpuArch) -> list[int]:
    """SVE's registers as the vCPU's interface has them."""
    if not vcpu.has_sve:
        return []
    if not proposal.is_proposed(vcpu):
        return sve.register_ids()
    return [proposal.as_proposed(one) for one in sve.register_ids() if one != SVE_VLS]


def system_register_ids(vcpu: VcpuArch) -> list[int]:
    """The system registers that the vCPU has (walk_sys_regs)."""
    kept = {name: holds(vcpu) for name, holds in CONDITIONS.items()}
    return [one for one, needs in listed(vcpu.host.kernel.name) if needs == ALWAYS or kept[needs]]


def has(vcpu: VcpuArch, register_id: int) -> bool:
    """Whether the vCPU has a system register (id_to_sys_reg_desc, sysreg_hidden)."""
    needs = condition(vcpu.host.kernel.name, register_id)
    return needs is not None and (needs == ALWAYS or CONDITIONS[needs](vcpu))


def _has(features: int) -> Callable[[VcpuArch], bool]:
    return lambda vcpu: vcpu.features & features == features


def _has_id(register: str, field: str, least: int = 1) -> Callable[[VcpuArch], bool]:
    """Whether the guest's ID register has a feature (kvm_has_feat); not of a kernel without that register."""
    encoding = encoding_of_op(tuple(id_registers()[register]["op"]))
    place = id_register(register).field(field)
    return lambda vcpu: encoding in vcpu.vm.id_registers and place.get(vcpu.id_value(encoding)) >= least


def _with_el2(holds: Callable[[VcpuArch], bool]) -> Callable[[VcpuArch], bool]:
    return lambda vcpu: bool(vcpu.features & HAS_EL2) and holds(vcpu)


_SVE = _has(SVE)
_TCR2 = _has_id("ID_AA64MMFR3_EL1", "TCRX")
_S1PIE = _has_id("ID_AA64MMFR3_EL1", "S1PIE")
_S1POE = _has_id("ID_AA64MMFR3_EL1", "S1POE")
_SCTLR2 = _has_id("ID_AA64MMFR3_EL1", "SCTLRX")

#: By name of the kernel's function, ``_visibility`` left out.
CONDITIONS: dict[str, Callable[[VcpuArch], bool]] = {
    "cnthv": _with_el2(lambda vcpu: not vcpu.features & HAS_EL2_E2H0),
    "el2": _has(HAS_EL2),
    "elx2": _has(HAS_EL2),
    "fgt": _with_el2(_has_id("ID_AA64MMFR0_EL1", "FGT")),
    "fgt2": _with_el2(_has_id("ID_AA64MMFR0_EL1", "FGT", 2)),
    "fp8": _has_id("ID_AA64PFR2_EL1", "FPMR"),
    "mte": lambda vcpu: bool(vcpu.vm.mte),
    "nvhcr_el2": _with_el2(_has_id("ID_AA64MMFR4_EL1", "NV_frac", 2)),
    "pmu": _has(PMU_V3),
    "ptrauth": _has(PTRAUTH),
    "s1pie": _S1PIE,
    "s1pie_el2": _with_el2(_S1PIE),
    "s1poe": _S1POE,
    "s1poe_el2": _with_el2(_S1POE),
    "sctlr2": _SCTLR2,
    "sctlr2_el2": _with_el2(_SCTLR2),
    "sme": _has_id("ID_AA64PFR1_EL1", "SME"),
    "sve": lambda vcpu: _SVE(vcpu) or proposal.is_proposed(vcpu),
    "sve_el2": _with_el2(_SVE),
    "tcr2": _TCR2,
    "tcr2_el2": _with_el2(_TCR2),
    "vncr_el2": _with_el2(_has_id("ID_AA64MMFR4_EL1", "NV_frac")),
}
