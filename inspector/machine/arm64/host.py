"""An arm64 host: what its CPUs have, what its kernel makes of it, what KVM lets guests have of that.

Source: Linux arch/arm64/kernel/cpufeature.c; arch/arm64/kvm/sys_regs.c (__kvm_read_sanitised_id_reg and
the functions that it calls), arch/arm64/kvm/arm.c (system_supported_vcpu_features).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from inspector.machine.arm64.policy import U64, sanitise
from layouts.arm64.hosts import BareHost
from layouts.arm64.kernels import Arm64Kernel, FieldPolicy, Limit

# vCPU features (KVM_ARM_VCPU_*), as bits.
POWER_OFF, EL1_32BIT, PSCI_0_2, PMU_V3, SVE, PTRAUTH_ADDRESS, PTRAUTH_GENERIC, HAS_EL2 = (1 << n for n in range(8))
PTRAUTH = PTRAUTH_ADDRESS | PTRAUTH_GENERIC
#: The composite properties, and the vCPU features that they ask for.
FEATURES_OF_SWITCH = {"sve": SVE, "pauth": PTRAUTH, "pmu": PMU_V3}
#: AArch64 ID registers.
AARCH64_IDS = range(0xC020, 0xC040)

#: ID registers that rules name, by encoding.
PFR1_AARCH32, DFR0_AARCH32 = 0xC009, 0xC00A
PFR0, PFR1, ZFR0, DFR0 = 0xC020, 0xC021, 0xC024, 0xC028
ISAR1, ISAR2, MMFR0, MMFR2 = 0xC031, 0xC032, 0xC038, 0xC03A
MIDR, REVIDR, AIDR, CTR, CLIDR = 0xC000, 0xC006, 0xC807, 0xD801, 0xC801


def field(value: int, lsb: int, width: int = 4) -> int:
    """Some bits of a register."""
    return value >> lsb & ((1 << width) - 1)


def without(value: int, *lsbs: int) -> int:
    """A register without some of its 4-bit fields."""
    for lsb in lsbs:
        value &= ~(0xF << lsb)
    return value


_WORKAROUNDS = tuple(0x6030_0000_0014_0000 | number for number in (1, 2, 3))
#: Implementer and part number of cores that are not affected.
_ARM = 0x41
_SPECTRE_V2_SAFE = frozenset((_ARM, part) for part in (0xD03, 0xD04, 0xD05))
_MELTDOWN_SAFE = _SPECTRE_V2_SAFE | {(_ARM, part) for part in (0xD07, 0xD08, 0xD09)}


if TYPE_CHECKING:
    from inspector.machine.arm64.live import LiveKvm

#: All bits of a register's writable fields, and each bit's field.
CheckedFields = tuple[int, dict[int, FieldPolicy]]


class Host:
    """Where VMs run.

    ``limits`` are the values of the ID registers for a guest with every feature that the host supports, by
    encoding; ``sanitised`` the kernel's own view, where it is known. ``sve_vqs`` has bit vq-1 set
    for each vector length of vq times 16 bytes. ``masks`` are captured writable masks, if any.
    ``registers`` are reset values of other registers by KVM register id.
    """

    def __init__(
        self,
        kernel: Arm64Kernel,
        limits: Mapping[int, int],
        *,
        sanitised: Mapping[int, int] | None = None,
        sve_vqs: int = 0,
        features: int = POWER_OFF | PSCI_0_2,
        masks: Mapping[int, int] | None = None,
        registers: Mapping[int, bytes] | None = None,
        name: str = "",
    ) -> None:
        self.kernel = kernel
        self.name = name
        self.limits = dict(limits)
        self.sanitised = dict(sanitised or {})
        self.sve_vqs = sve_vqs
        self.features = features
        self.masks = dict(masks) if masks is not None else None
        self.registers = dict(registers or {})
        #: Registers in KVM_GET_REG_LIST by vCPU features.
        self.counts: dict[int, int] = {}
        #: The real KVM that is this host, if it is one.
        self.live: LiveKvm | None = None
        #: The writable fields of each ID register, as idregs works them out.
        self.checked: dict[int, CheckedFields] = {}

    @property
    def has_aarch32(self) -> bool:
        """AArch32 at EL0: without it the AArch32 ID registers read as zero and take any value."""
        return field(self.limits.get(PFR0, 0), 0) == 2

    def mask(self, encoding: int) -> int:
        """The writable bits of an ID register."""
        if self.masks is not None:
            return self.masks.get(encoding, 0)
        register = self.kernel.registers.get(encoding)
        return register.mask if register is not None else 0

    def limit(self, encoding: int, features: int) -> int:
        """The value of an ID register for a guest with these features: what reset gives, and the most it may have."""
        value = self.limits.get(encoding, 0)
        if encoding == PFR0 and not features & SVE:
            return without(value, 32)
        if encoding == ZFR0 and not features & SVE:
            return 0
        if encoding == DFR0 and not features & PMU_V3:
            return without(value, 8)
        if encoding == DFR0_AARCH32 and not features & PMU_V3:
            return without(value, 24)
        if encoding == ISAR1 and not features & PTRAUTH_ADDRESS:
            return without(value, 4, 8, 24, 28)
        if encoding == ISAR2 and not features & PTRAUTH_ADDRESS:
            return without(value, 8, 12)
        return value

    def reset_value(self, encoding: int, features: int) -> int:
        """What the register holds at reset.

        ID_DFR0_EL1 is not read as zero without AArch32: PerfMon follows the PMU.
        """
        if self.reads_as_zero(encoding, features) and encoding not in (DFR0_AARCH32, MIDR, REVIDR, AIDR):
            return 0
        return self.limit(encoding, features)

    def firmware(self, register_id: int) -> tuple[int, int] | None:
        """A firmware register's value at reset, and for bitmaps the bits that may be set; None when there is none."""
        bitmap = self.kernel.bitmaps.get(register_id)
        if bitmap is not None:
            return self._captured(register_id, bitmap[0]), bitmap[1]
        if register_id in _WORKAROUNDS:
            return self._captured(register_id, 0), 0xF
        return None

    def _captured(self, register_id: int, default: int) -> int:
        data = self.registers.get(register_id)
        return int.from_bytes(data, "little") if data is not None else default

    def register_count(self, features: int) -> int:
        """How many registers KVM_GET_REG_LIST gives, where that was captured, else 0."""
        return self.counts.get(features, 0)

    def reads_as_zero(self, encoding: int, features: int) -> bool:
        """The register is RAZ for such a guest: hidden, unallocated, SVE's without SVE, AArch32's without AArch32."""
        register = self.kernel.registers.get(encoding)
        if register is None or register.kind in ("hidden", "unallocated"):
            return True
        if register.aarch32 and not self.has_aarch32:
            return True
        return encoding == ZFR0 and not features & SVE


def from_bare(kernel: Arm64Kernel, cpus: Sequence[BareHost], *, gicv3: bool = True, mte: bool = False) -> Host:
    """A host with these CPUs: their registers sanitised over all of them, then KVM's limit.

    Spectre v2 and Meltdown are taken as unaffected where every CPU says CSV2 and CSV3, PMUv3 as
    the CPUs have it. Vector lengths are those that every CPU has.
    """
    sanitised = {}
    for encoding, fields in kernel.fields.items():
        sanitised[encoding] = sanitise(fields, [cpu.registers.get(encoding, 0) for cpu in cpus])
    vqs = U64
    for cpu in cpus:
        vqs &= sum(1 << (vl // 16 - 1) for vl in cpu.sve_vl_bytes)
    sanitised[CTR] = sanitise(kernel.fields[CTR], [_effective_ctr(cpu) for cpu in cpus])
    first = cpus[0].registers
    limits = {encoding: _limit(kernel, sanitised, encoding, gicv3=gicv3, mte=mte) for encoding in sanitised}
    if PFR0 in limits:
        limits[PFR0] = _with_safe_parts(limits[PFR0], [cpu.registers.get(MIDR, 0) for cpu in cpus])
    limits |= _pmu_versions(kernel, sanitised)
    limits |= {encoding: first.get(encoding, 0) for encoding in (MIDR, REVIDR, AIDR)}
    limits[CLIDR] = reset_clidr(sanitised.get(CTR, 0)) if kernel.virtual_caches else first.get(CLIDR, 0)
    pfr0 = sanitised[PFR0]
    features = POWER_OFF | PSCI_0_2
    features |= EL1_32BIT if field(pfr0, 4) == 2 else 0
    features |= PMU_V3 if field(sanitised[DFR0], 8) not in (0, 15) else 0
    features |= SVE if vqs and field(pfr0, 32) else 0
    features |= PTRAUTH if _has_ptrauth(sanitised) else 0
    return Host(
        kernel,
        limits,
        sanitised=sanitised,
        sve_vqs=vqs if features & SVE else 0,
        features=features,
        name=" + ".join(cpu.name for cpu in cpus),
    )


def _has_ptrauth(sanitised: Mapping[int, int]) -> bool:
    isar1, isar2 = sanitised.get(ISAR1, 0), sanitised.get(ISAR2, 0)
    address = field(isar1, 4) or field(isar1, 8) or field(isar2, 12)
    generic = field(isar1, 24) or field(isar1, 28) or field(isar2, 8)
    return bool(address and generic)


def reset_clidr(ctr: int) -> int:
    """The cache hierarchy that KVM shows: one level, as CTR_EL0's IDC and DIC ask (reset_clidr)."""
    idc, dic = ctr >> 28 & 1, ctr >> 29 & 1
    if idc:
        level = 1 if dic else 2
        clidr = 4 << 3 * (level - 1)
    else:
        level = 1
        clidr = 1 << 27 | 1 << 21 | 2
    if not dic:
        clidr |= 1
    return clidr | level << 24


def _effective_ctr(cpu: BareHost) -> int:
    """CTR_EL0, with IDC where CLIDR_EL1 says that nothing needs cleaning (read_cpuid_effective_cachetype)."""
    ctr, clidr = cpu.registers.get(CTR, 0), cpu.registers.get(CLIDR, 0)
    clean = not field(clidr, 24, 3) or not (field(clidr, 21, 3) or field(clidr, 27, 3))
    return ctr | 1 << 28 if clean else ctr


def _with_safe_parts(pfr0: int, midrs: Sequence[int]) -> int:
    """CSV2 and CSV3 of cores that are known to be unaffected (spectre_v2_safe_list, kpti_safe_list)."""
    parts = {(midr >> 24, field(midr, 4, 12)) for midr in midrs}
    for lsb, safe in ((56, _SPECTRE_V2_SAFE), (60, _MELTDOWN_SAFE)):
        if parts <= safe:
            pfr0 = without(pfr0, lsb) | 1 << lsb
    return pfr0


def _pmu_versions(kernel: Arm64Kernel, sanitised: Mapping[int, int]) -> dict[int, int]:
    """PMUVer and PerfMon of a guest with a PMU: the host's, up to what KVM emulates."""
    version = field(sanitised[DFR0], 8)
    version = 0 if version == 0xF else min(version, kernel.pmuver_most)
    dfr0 = without(_dfr0(kernel, sanitised[DFR0]), 8) | version << 8
    aarch32 = kernel.limits.get(DFR0_AARCH32, Limit()).of(sanitised.get(DFR0_AARCH32, 0), mte=False)
    perfmon = field(aarch32, 24)
    perfmon = 0 if perfmon == 0xF else min(perfmon, kernel.pmuver_most)
    if kernel.perfmon_follows:
        perfmon = 3 if version == 1 else version
    return {DFR0: dfr0, DFR0_AARCH32: without(aarch32, 24) | perfmon << 24}


def _limit(kernel: Arm64Kernel, sanitised: Mapping[int, int], encoding: int, *, gicv3: bool, mte: bool) -> int:
    """A register as KVM starts from it, for a guest with all features of the host."""
    register = kernel.registers.get(encoding)
    if register is None or register.kind in ("hidden", "unallocated"):
        return 0
    value = kernel.limits.get(encoding, Limit()).of(sanitised[encoding], mte=mte)
    if encoding == PFR0:
        value = _pfr0(value)
        return without(value, 24) | 1 << 24 if gicv3 else value
    if encoding == PFR1 and kernel.hides_ras_frac and field(sanitised[PFR0], 28) != 1:
        return without(value, 12)
    return value


def _pfr0(value: int) -> int:
    """CSV2 and CSV3 are 1 where the CPU says that it is not affected."""
    for lsb in (56, 60):
        if field(value, lsb):
            value = without(value, lsb) | 1 << lsb
    return value


def _dfr0(kernel: Arm64Kernel, value: int) -> int:
    """Debug up to what KVM emulates: v8.8, v8.0 up to 6.6."""
    value = kernel.limits.get(DFR0, Limit()).of(value, mte=False)
    version = field(value, 0)
    return without(value, 0) | (min(version, kernel.debug_most) if kernel.debug_most else version)
