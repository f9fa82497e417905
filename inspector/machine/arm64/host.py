"""An arm64 host: what KVM lets guests have of it.

Source: Linux arch/arm64/kvm/sys_regs.c (__kvm_read_sanitised_id_reg and the functions that it calls),
arch/arm64/kvm/arm.c (system_supported_vcpu_features).
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.machine.arm64 import nested
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import (
    AIDR,
    CTR,
    DFR0,
    DFR0_AARCH32,
    ISAR1,
    ISAR2,
    MIDR,
    PFR0,
    PMCR,
    REVIDR,
    WORKAROUND_1,
    WORKAROUND_2,
    WORKAROUND_3,
    ZFR0,
    sysreg_id,
)
from layouts.arm64.kernels import Arm64Kernel, FieldPolicy
from layouts.vocabulary import Bits, without

# vCPU features (KVM_ARM_VCPU_*), as bits.
POWER_OFF, EL1_32BIT, PSCI_0_2, PMU_V3, SVE, PTRAUTH_ADDRESS, PTRAUTH_GENERIC, HAS_EL2 = (1 << n for n in range(8))
PTRAUTH = PTRAUTH_ADDRESS | PTRAUTH_GENERIC
HAS_EL2_E2H0, PMU_V3_STRICT = 1 << 8, 1 << 9
#: No vCPU feature: KVM_CAP_ARM_MTE of the VM, which its ID registers follow as they follow the features.
MTE = 1 << 32
#: The composite properties, and the vCPU features that they ask for.
FEATURES_OF_SWITCH = {"sve": SVE, "pauth": PTRAUTH, "pmu": PMU_V3}


#: PMCR_EL0.N.
_SIX_COUNTERS = 6 << 11
#: ID_AA64PFR0_EL1.EL0 and EL1: AArch32 as well as AArch64.
AARCH32_TOO = 2
#: KVM_ARM_TARGET_* by implementer and part number.
_TARGETS = {(0x41, 0xD0F): 0, (0x41, 0xD00): 1, (0x41, 0xD07): 2, (0x50, 0x000): 3, (0x41, 0xD03): 4}
_GENERIC_V8 = 5

_WORKAROUNDS = (WORKAROUND_1, WORKAROUND_2, WORKAROUND_3)


#: What guests see of a feature only if their vCPUs have it: fields by register.
FIELDS_OF_FEATURE: dict[int, dict[int, tuple[Bits, ...]]] = {
    SVE: {PFR0: (of.PFR0_SVE,)},
    PMU_V3: {DFR0: (of.DFR0_PMUVER,), DFR0_AARCH32: (of.DFR0_AARCH32_PERFMON,)},
    PTRAUTH_ADDRESS: {
        ISAR1: (of.ISAR1_APA, of.ISAR1_API, of.ISAR1_GPA, of.ISAR1_GPI),
        ISAR2: (of.ISAR2_GPA3, of.ISAR2_APA3),
    },
}

#: All bits of a register's writable fields, and each bit's field.
CheckedFields = tuple[int, dict[int, FieldPolicy]]


class Host:
    """Where VMs run.

    ``limits`` are the values of the ID registers for a guest with every feature that the host supports, by
    encoding; ``sanitised`` the kernel's own view, where it is known; ``of_core`` what the core's number tells of
    it beyond that. ``sve_vqs`` has bit vq-1 set
    for each vector length of vq times 16 bytes. ``masks`` are captured writable masks, if any.
    ``registers`` are reset values of other registers by KVM register id. ``with_mte`` are the ID registers
    that differ for VMs with KVM_CAP_ARM_MTE; empty: the host has no MTE. ``gic`` is the version of the GIC.
    ``pkvm``: it was booted with ``kvm-arm.mode=protected``.
    """

    #: A real KVM answers, which can make vCPUs (``live.LiveHost``).
    is_live = False

    def __init__(
        self,
        kernel: Arm64Kernel,
        limits: Mapping[int, int],
        *,
        sanitised: Mapping[int, int] | None = None,
        of_core: Mapping[int, int] | None = None,
        sve_vqs: int = 0,
        features: int = POWER_OFF | PSCI_0_2,
        masks: Mapping[int, int] | None = None,
        registers: Mapping[int, bytes] | None = None,
        with_mte: Mapping[int, int] | None = None,
        gic: int = 3,
        pkvm: bool = False,
        name: str = "",
    ) -> None:
        self.kernel = kernel
        self.name = name
        self.limits = dict(limits)
        self.sanitised = dict(sanitised or {})
        self.of_core = dict(of_core or {})
        self.sve_vqs = sve_vqs
        self.features = features
        self.masks = dict(masks) if masks is not None else None
        self.registers = dict(registers or {})
        self.with_mte = dict(with_mte or {})
        self.gic = gic
        self.pkvm = pkvm
        #: PMCR_EL0 of the CPU; of a captured host its guest's, else one with six event counters, as most cores have.
        self.pmcr = int.from_bytes(self.registers.get(sysreg_id(PMCR), b""), "little") or _SIX_COUNTERS
        #: CTR_EL0 of the first CPU itself, which guests read where it is not trapped.
        self.bare_ctr = self.sanitised.get(CTR, self.limits.get(CTR, 0))
        #: DCZID_EL0 of the first CPU; None where nobody knows it.
        self.bare_dczid: int | None = None
        #: The writable fields of each ID register, as idregs works them out.
        self.writable: dict[int, tuple[FieldPolicy, ...]] = {}
        self.checked: dict[int, CheckedFields] = {}
        #: What writes to ID registers are held against, by register and features, as idregs works it out.
        self.id_limits: dict[tuple[int, int], object] = {}
        self._limit_by: dict[tuple[int, int], int] = {}
        self._reset_by: dict[int, dict[int, int]] = {}

    def supposing(self, encoding: int, mask: int, value: int) -> Host:
        """The host if some bits of a register were a value's."""
        from copy import copy

        found = copy(self)
        found.limits = {**self.limits, encoding: self.limits.get(encoding, 0) & ~mask | value & mask}
        found._limit_by, found._reset_by, found.id_limits = {}, {}, {}
        return found

    @property
    def has_aarch32(self) -> bool:
        """AArch32 at EL0: without it the AArch32 ID registers read as zero and take any value."""
        return of.PFR0_EL0.get(self.limits.get(PFR0, 0)) == AARCH32_TOO

    @property
    def target(self) -> int:
        """KVM_ARM_TARGET_* of the CPU that KVM runs on (kvm_target_cpu); generic for most."""
        midr = self.limits.get(MIDR, 0)
        return _TARGETS.get((of.MIDR_IMPLEMENTER.get(midr), of.MIDR_PARTNUM.get(midr)), _GENERIC_V8)

    def hardware(self, encoding: int) -> int | None:
        """The kernel's own view of a register, or its core's; None when neither is known."""
        return self.sanitised.get(encoding, self.of_core.get(encoding))

    def mask(self, encoding: int) -> int:
        """The writable bits of an ID register; none of an AArch32 one without AArch32 (writable masks ioctl)."""
        if self.masks is not None:
            return self.masks.get(encoding, 0)
        register = self.kernel.registers.get(encoding)
        if register is None or (register.aarch32 and not self.has_aarch32):
            return 0
        return register.mask

    def limit(self, encoding: int, features: int) -> int:
        """The value of an ID register for a guest with these features: what reset gives, and the most it may have."""
        key = encoding, features
        found = self._limit_by.get(key)
        if found is None:
            found = self._limit_by[key] = self._limit(encoding, features)
        return found

    def _limit(self, encoding: int, features: int) -> int:
        value = self.limits.get(encoding, 0)
        if features & MTE:
            value = self.with_mte.get(encoding, value)
        if encoding == ZFR0 and not features & SVE:
            return 0
        for feature, places in FIELDS_OF_FEATURE.items():
            if encoding in places and not features & feature and (feature != PMU_V3 or self.kernel.pmu_hidden):
                value = without(value, *places[encoding])
        if features & HAS_EL2 and encoding in self.kernel.registers:
            name = self.kernel.registers[encoding].name
            value = nested.limit(self.kernel.nested, name, value, e2h0=bool(features & HAS_EL2_E2H0))
        return value

    def reset_value(self, encoding: int, features: int) -> int:
        """What the register holds at reset.

        ID_DFR0_EL1 is not read as zero without AArch32: PerfMon follows the PMU.
        """
        if self.reads_as_zero(encoding, features) and encoding not in (DFR0_AARCH32, MIDR, REVIDR, AIDR):
            return 0
        return self.limit(encoding, features)

    def reset_values(self, features: int) -> Mapping[int, int]:
        """All of them that a VM has, by encoding."""
        found = self._reset_by.get(features)
        if found is None:
            every = (*self.kernel.registers, MIDR, REVIDR, AIDR)
            found = self._reset_by[features] = {one: self.reset_value(one, features) for one in every}
        return found

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

    def reads_as_zero(self, encoding: int, features: int) -> bool:
        """The register is RAZ for such a guest: hidden, unallocated, SVE's without SVE, AArch32's without AArch32."""
        register = self.kernel.registers.get(encoding)
        if register is None or not register.is_shown:
            return True
        if register.aarch32 and not self.has_aarch32 and self.kernel.aarch32_raz:
            return True
        return encoding == ZFR0 and not features & SVE
