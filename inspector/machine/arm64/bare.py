"""A host from the bare registers of its CPUs: sanitised over all of them, then what KVM makes of that.

Source: Linux arch/arm64/kernel/cpufeature.c, proton-pack.c; arch/arm64/kvm/sys_regs.c
(__kvm_read_sanitised_id_reg and the functions that it calls), hypercalls.c (get_kernel_wa_level).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from inspector.machine.arm64.caches import has_cache, needs_no_cleaning, reset_clidr
from inspector.machine.arm64.host import (
    AARCH32_TOO,
    EL1_32BIT,
    HAS_EL2,
    PMU_V3,
    POWER_OFF,
    PSCI_0_2,
    PTRAUTH,
    SVE,
    Host,
)
from inspector.machine.arm64.policy import U64, sanitise
from layouts.arm64 import id_fields as of
from layouts.arm64 import mitigations
from layouts.arm64.hosts import BareHost
from layouts.arm64.ids import (
    AIDR,
    CACHES,
    CCSIDR,
    CLIDR,
    CTR,
    DCZID,
    DFR0,
    DFR0_AARCH32,
    ISAR1,
    ISAR2,
    MIDR,
    MMFR1,
    PFR0,
    PFR1,
    PFR1_AARCH32,
    PMCR,
    REVIDR,
    WORKAROUND_1,
    WORKAROUND_2,
    WORKAROUND_3,
)
from layouts.arm64.kernels import Arm64Kernel, Limit
from layouts.light import NamedTuple

_MTE2, _CSV2_3, _IMPLEMENTATION_DEFINED = 2, 3, 0xF
_NOT_AVAILABLE, _AVAILABLE, _NOT_REQUIRED, _SSBD_NOT_REQUIRED = 0, 1, 2, 3


def from_bare(
    kernel: Arm64Kernel,
    cpus: Sequence[BareHost],
    *,
    gic: int = 3,
    nested: bool = False,
    mte: bool = False,
    pkvm: bool = False,
) -> Host:
    """A host with these CPUs.

    ``gic``: the version of its GIC. ``nested``: its KVM runs guests with EL2; ``pkvm``: its kvm-arm.mode is protected.
    ``mte``: the VMM asks for KVM_CAP_ARM_MTE in every VM, so where the CPUs have MTE, all its guests do. Vector lengths
    are those that every CPU has. Firmware is taken to mitigate nothing.
    """
    if pkvm:
        # vgic_v2_probe: no GICv2 in protected mode; is_hyp_nvhe, so no EL2 for guests either.
        gic, nested = gic if gic == 3 else 0, False
    sanitised = {}
    for encoding, fields in kernel.fields.items():
        sanitised[encoding] = sanitise(fields, [cpu.registers.get(encoding, 0) for cpu in cpus])
    sanitised[CTR] = sanitise(kernel.fields[CTR], [_effective_ctr(cpu) for cpu in cpus])
    if gic < 3:
        sanitised[PFR0] = of.PFR0_GIC.put(sanitised[PFR0], 0)
        sanitised[PFR1_AARCH32] = of.PFR1_AARCH32_GIC.put(sanitised[PFR1_AARCH32], 0)
    has_mte = kernel.mte and of.PFR1_MTE.get(sanitised[PFR1]) >= _MTE2
    states = _mitigations(cpus)
    vqs = _lengths(cpus)
    features = _features(sanitised, vqs) | (HAS_EL2 if nested and kernel.nested else 0)
    host = Host(
        kernel,
        _limits(kernel, sanitised, cpus, states, gic=gic, mte=mte and has_mte),
        sanitised=sanitised,
        sve_vqs=vqs if features & SVE else 0,
        features=features,
        registers={**_firmware_levels(states), **_caches(kernel, cpus)},
        with_mte=_limits(kernel, sanitised, cpus, states, gic=gic, mte=True) if has_mte else {},
        gic=gic,
        pkvm=pkvm,
        name=" + ".join(cpu.name for cpu in cpus),
    )
    host.bare_ctr = cpus[0].registers.get(CTR, 0)
    host.bare_dczid = cpus[0].registers.get(DCZID)
    host.pmcr = cpus[0].registers.get(PMCR, host.pmcr)
    return host


def _lengths(cpus: Sequence[BareHost]) -> int:
    vqs = U64
    for cpu in cpus:
        vqs &= sum(1 << (vl // 16 - 1) for vl in cpu.sve_vl_bytes)
    return vqs


def _features(sanitised: Mapping[int, int], vqs: int) -> int:
    """What vCPUs may be initialized with (system_supported_vcpu_features)."""
    pfr0 = sanitised[PFR0]
    features = POWER_OFF | PSCI_0_2
    features |= EL1_32BIT if of.PFR0_EL1.get(pfr0) == AARCH32_TOO else 0
    features |= PMU_V3 if of.DFR0_PMUVER.get(sanitised[DFR0]) not in (0, _IMPLEMENTATION_DEFINED) else 0
    features |= SVE if vqs and of.PFR0_SVE.get(pfr0) else 0
    features |= PTRAUTH if _has_ptrauth(sanitised) else 0
    return features


def _has_ptrauth(sanitised: Mapping[int, int]) -> bool:
    isar1, isar2 = sanitised.get(ISAR1, 0), sanitised.get(ISAR2, 0)
    address = of.ISAR1_APA.get(isar1) or of.ISAR1_API.get(isar1) or of.ISAR2_APA3.get(isar2)
    generic = of.ISAR1_GPA.get(isar1) or of.ISAR1_GPI.get(isar1) or of.ISAR2_GPA3.get(isar2)
    return bool(address and generic)


def _limits(
    kernel: Arm64Kernel,
    sanitised: Mapping[int, int],
    cpus: Sequence[BareHost],
    states: Mitigations,
    *,
    gic: int,
    mte: bool,
) -> dict[int, int]:
    """The ID registers of a guest with all features of the host, with or without KVM_CAP_ARM_MTE."""
    first = cpus[0].registers
    limits = {encoding: _limit(kernel, sanitised, encoding, mte=mte) for encoding in sanitised}
    limits[PFR0] = _with_mitigations(limits[PFR0], kernel, states)
    if gic >= 3 and kernel.debug_most:
        limits[PFR0] = of.PFR0_GIC.put(limits[PFR0], 1)
    limits |= _pmu_versions(kernel, sanitised)
    limits |= {encoding: first.get(encoding, 0) for encoding in (MIDR, REVIDR, AIDR)}
    limits[CLIDR] = reset_clidr(sanitised.get(CTR, 0), mte=mte) if kernel.virtual_caches else first.get(CLIDR, 0)
    return limits


def _effective_ctr(cpu: BareHost) -> int:
    """CTR_EL0, with IDC where CLIDR_EL1 says that nothing needs cleaning (read_cpuid_effective_cachetype)."""
    ctr, clidr = cpu.registers.get(CTR, 0), cpu.registers.get(CLIDR, 0)
    return of.CTR_IDC.put(ctr, 1) if needs_no_cleaning(clidr) else ctr


def _caches(kernel: Arm64Kernel, cpus: Sequence[BareHost]) -> dict[int, bytes]:
    """CCSIDR_EL1 of each cache that the hardware has, which old kernels show as they are (is_valid_cache)."""
    if kernel.virtual_caches:
        return {}
    cpu = cpus[0]
    clidr = cpu.registers.get(CLIDR, 0)
    found = {}
    for selector in range(CACHES):
        if has_cache(clidr, selector):
            found[CCSIDR | selector] = (cpu.ccsidr.get(selector, 0) & 0xFFFF_FFFF).to_bytes(4, "little")
    return found


# Mitigations


class Mitigations(NamedTuple):
    """What the host's CPUs need no mitigation of, all of them; ``bhb`` as KVM_REG_ARM_SMCCC_ARCHWORKAROUND_3."""

    spectre_v2: bool
    spectre_v4: bool
    meltdown: bool
    bhb: int


def _mitigations(cpus: Iterable[BareHost]) -> Mitigations:
    """The worst of all CPUs (update_mitigation_state)."""
    found = [_mitigations_of(cpu) for cpu in cpus]
    return Mitigations(
        all(cpu.spectre_v2 for cpu in found),
        all(cpu.spectre_v4 for cpu in found),
        all(cpu.meltdown for cpu in found),
        min(cpu.bhb for cpu in found),
    )


def _mitigations_of(cpu: BareHost) -> Mitigations:
    midr, pfr0 = cpu.registers.get(MIDR, 0), cpu.registers.get(PFR0, 0)
    part = of.MIDR_IMPLEMENTER.get(midr), of.MIDR_PARTNUM.get(midr)
    spectre_v2 = bool(of.PFR0_CSV2.get(pfr0)) or part in mitigations.SPECTRE_V2_SAFE
    meltdown = bool(of.PFR0_CSV3.get(pfr0)) or part in mitigations.MELTDOWN_SAFE
    bhb = _NOT_AVAILABLE
    if of.PFR0_CSV2.get(pfr0) >= _CSV2_3 or part in mitigations.SPECTRE_BHB_SAFE:
        bhb = _NOT_REQUIRED
    elif spectre_v2 and (part in mitigations.SPECTRE_BHB_LOOP or _clears_history(cpu)):
        bhb = _AVAILABLE
    return Mitigations(spectre_v2, part in mitigations.SPECTRE_V4_SAFE, meltdown, bhb)


def _clears_history(cpu: BareHost) -> bool:
    """ECBHB, or the CLRBHB instruction."""
    return bool(of.MMFR1_ECBHB.get(cpu.registers.get(MMFR1, 0)) or of.ISAR2_CLRBHB.get(cpu.registers.get(ISAR2, 0)))


def _firmware_levels(states: Mitigations) -> dict[int, bytes]:
    """The firmware registers of mitigations (get_kernel_wa_level)."""
    levels = {
        WORKAROUND_1: _NOT_REQUIRED if states.spectre_v2 else _NOT_AVAILABLE,
        WORKAROUND_2: _SSBD_NOT_REQUIRED if states.spectre_v4 else _NOT_AVAILABLE,
        WORKAROUND_3: states.bhb,
    }
    return {register_id: level.to_bytes(8, "little") for register_id, level in levels.items()}


def _with_mitigations(pfr0: int, kernel: Arm64Kernel, states: Mitigations) -> int:
    """CSV2 and CSV3 are 1 where the CPUs are not affected; old kernels show 0 otherwise."""
    for csv, safe in ((of.PFR0_CSV2, states.spectre_v2), (of.PFR0_CSV3, states.meltdown)):
        shown = kernel.checks_features or csv.name in kernel.writable_csv
        if shown and (safe or not kernel.checks_features):
            pfr0 = csv.put(pfr0, safe)
    return pfr0


# KVM's filters


def _limit(kernel: Arm64Kernel, sanitised: Mapping[int, int], encoding: int, *, mte: bool) -> int:
    """A register as KVM starts from it, for a guest with all features of the host."""
    register = kernel.registers.get(encoding)
    if register is None or not register.is_shown:
        return 0
    value = kernel.limits.get(encoding, Limit()).of(sanitised[encoding], mte=mte)
    if encoding == PFR1 and kernel.hides_ras_frac and of.PFR0_RAS.get(sanitised[PFR0]) != 1:
        return of.PFR1_RAS_FRAC.put(value, 0)
    return value


def _pmu_versions(kernel: Arm64Kernel, sanitised: Mapping[int, int]) -> dict[int, int]:
    """PMUVer and PerfMon of a guest with a PMU: the host's, up to what KVM emulates."""
    version = _pmu_version(of.DFR0_PMUVER.get(sanitised[DFR0]), kernel)
    dfr0 = of.DFR0_PMUVER.put(_dfr0(kernel, sanitised[DFR0]), version)
    aarch32 = kernel.limits.get(DFR0_AARCH32, Limit()).of(sanitised.get(DFR0_AARCH32, 0), mte=False)
    perfmon = _pmu_version(of.DFR0_AARCH32_PERFMON.get(aarch32), kernel)
    if kernel.perfmon_follows:
        perfmon = 3 if version == 1 else version
    return {DFR0: dfr0, DFR0_AARCH32: of.DFR0_AARCH32_PERFMON.put(aarch32, perfmon)}


def _pmu_version(version: int, kernel: Arm64Kernel) -> int:
    """Not the implementation defined one, and no newer than KVM's."""
    return 0 if version == _IMPLEMENTATION_DEFINED else min(version, kernel.pmuver_most)


def _dfr0(kernel: Arm64Kernel, value: int) -> int:
    """Debug up to what KVM emulates."""
    value = kernel.limits.get(DFR0, Limit()).of(value, mte=False)
    version = of.DFR0_DEBUGVER.get(value)
    return of.DFR0_DEBUGVER.put(value, min(version, kernel.debug_most)) if kernel.debug_most else value
