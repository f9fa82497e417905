"""arm64 kernel profiles: how Linux sanitises ID registers, and what KVM lets user space write.

Data: ``data/kernels.json``, each table read from the source of the version that the entry names:

- ``fields``: arch/arm64/kernel/cpufeature.c, arm64_ftr_regs, with the positions of arch/arm64/tools/sysreg. A field
  says how two CPUs' values become one (``lower``, ``higher``, ``higher_or_zero``, ``exact``), and is signed or not.
- ``registers``: arch/arm64/kvm/sys_regs.c, sys_reg_descs and invariant_sys_regs: kind, and the writable bits.
- ``limits``: sys_regs.c, __kvm_read_sanitised_id_reg and what it calls (read_id_reg before 6.5).
- ``psci_versions``, ``bitmaps``: arch/arm64/kvm/hypercalls.c (psci.c before 6.0), include/uapi/asm/kvm.h.

An entry that is ``like`` another says only what differs; null takes a register away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layouts.arm64.ids import Op, encoding_of_op, op_of_encoding
from layouts.arm64.sysregs import id_registers, name_of
from layouts.by_name import ByName
from layouts.data import data_table
from layouts.kernels import Kernel, profile_among, update_number
from layouts.light import TYPE_CHECKING, NamedTuple, cache
from layouts.vocabulary import Bits

if TYPE_CHECKING:
    from typing import Any


class FieldPolicy(Bits):
    """One entry of a kernel's ``arm64_ftr_bits`` table."""

    __slots__ = ("policy", "safe_value", "signed", "strict")

    def __init__(
        self, name: str, lsb: int, width: int, *, policy: str, signed: bool, strict: bool, safe_value: int
    ) -> None:
        super().__init__(name, lsb, width)
        self.policy = policy
        self.signed = signed
        self.strict = strict
        self.safe_value = safe_value

    def key(self) -> tuple[object, ...]:
        """See Bits.key."""
        return (*super().key(), self.policy, self.signed, self.strict, self.safe_value)

    def with_policy(self, policy: str) -> FieldPolicy:
        """The same field under another policy."""
        return FieldPolicy(
            self.name,
            self.lsb,
            self.width,
            policy=policy,
            signed=self.signed,
            strict=self.strict,
            safe_value=self.safe_value,
        )

    def get(self, value: int) -> int:
        """The field's value, negative where it is signed and its top bit is set (arm64_ftr_value)."""
        width = self.width
        raw = value >> self.lsb & ((1 << width) - 1)
        return raw - (1 << width) if self.signed and raw >> width - 1 else raw


class IdRegister(NamedTuple):
    """How KVM treats an ID register.

    ``kind``: ``writable`` within ``mask``; ``sanitised``: the host's, not writable; ``hidden`` and
    ``unallocated`` read as zero; ``implementation`` is writable with a capability; ``vcpu`` is each
    vCPU's own; ``invariant`` takes only its value. ``aarch32``: means nothing without AArch32 at EL0.
    """

    name: str
    op: Op
    kind: str
    mask: int
    aarch32: bool

    @property
    def encoding(self) -> int:
        """The 16 bits that a KVM register id has for it."""
        return encoding_of_op(self.op)

    @property
    def is_shown(self) -> bool:
        """Guests read something of the CPU in it, or of their own; else zero."""
        return self.kind not in ("hidden", "unallocated")


class Limit(NamedTuple):
    """What guests never see of an ID register, whatever the host has.

    ``hidden`` are bits that read as zero, ``without_mte`` those that do so in a VM without KVM_CAP_ARM_MTE.
    ``most`` are fields (lsb, width) that read as no more than a value.
    """

    hidden: int = 0
    without_mte: int = 0
    most: tuple[tuple[int, int, int], ...] = ()

    def of(self, value: int, *, mte: bool) -> int:
        """A host's value as guests may see it."""
        value &= ~self.hidden
        if not mte:
            value &= ~self.without_mte
        for lsb, width, most in self.most:
            mask = (1 << width) - 1
            value = value & ~(mask << lsb) | min(value >> lsb & mask, most) << lsb
        return value


class Arm64Kernel(Kernel):
    """A Linux version on arm64. Tables are by encoding; each other field is named by the rule that it switches.

    vCPUs and VMs (arch/arm64/kvm/arm.c, reset.c):
    ``vcpu_features``: how many KVM_ARM_VCPU_* bits there are (KVM_VCPU_MAX_FEATURES).
    ``vm_wide_features``: KVM_ARM_VCPU_INIT checks all features first, and they are the VM's
    (kvm_vcpu_init_check_features); else one loop over the bits of this vCPU (kvm_vcpu_set_target).
    ``keeps_vcpu_ids``: another init keeps MPIDR_EL1 and CLIDR_EL1 (reset_vcpu_ftr_id_reg).
    ``shared_width``: the first vCPU decides on the VM's register width (kvm_set_vm_width); before, vCPUs that nobody
    has initialized count as 64-bit ones. ``counts_vcpus``: the VM's GIC limits the number of vCPUs too, before anything
    else is asked (kvm->max_vcpus in kvm_vm_ioctl_create_vcpu). ``mte``: KVM_CAP_ARM_MTE. ``pmu_needs_init``: a vCPU
    whose PMU is not initialized cannot run (kvm_arm_pmu_v3_enable, commit 9bbfa4b56537 of 5.11). ``pmu_registers``: how
    the PMU's registers are reset and set: as others (``plain``), ``reset`` to the counters that are there, with
    ``counters`` of 64 bits and PMCR_EL0 of N alone, N the VM's and bits of a set written one by one (``set_clear``),
    or as they are (``raw``). ``timers_stored``: a timer's registers are the vCPU's own, ISTATUS with them
    (arch_timer_get_user); else computed (read_timer_ctl). ``copies_first``: a system register's new value is copied
    from user space before the register is looked up (kvm_sys_reg_set_user).
    ``imp_ids``: KVM_CAP_ARM_WRITABLE_IMP_ID_REGS. ``reports_masks``: KVM_ARM_GET_REG_WRITABLE_MASKS.
    ``nested``: the profile that has the same limit_nv_id_reg (nested.c); empty where EL2 cannot be asked for.
    ``vgic_fields``: how PFR0.GIC and ID_PFR1.GIC follow the VM's GIC: not at all; ``cleared`` by a first run
    without one (kvm_finalize_sys_regs); ``created``: also set when it is made (kvm_vgic_create); ``follows``: also
    set at the first run (kvm_vgic_finalize_idregs). ``vgic_kills``: a VM whose GIC is not ready at the first run is
    gone (kvm_vgic_map_resources, kvm_vm_dead). ``tries_once``: a vCPU's first KVM_RUN counts where it failed too, and
    the next asks for nothing (has_run_once of kvm_vcpu_first_run_init).
    ``drops_unmet``: the first run hides S1PIE where TCRX or ATS1A is missing, and S1POE also where HPDS is
    (kvm_idregs_enforce_dependencies, config.c).

    What guests see (sys_regs.c):
    ``limits``: by register. ``aarch32_raz``: AArch32 registers are RAZ/WI where EL0 has no AArch32
    (aa32_id_visibility). ``debug_most``: the newest DebugVer, 0: the host's. ``pmuver_most``: the newest PMUVer, of
    vCPUs with a PMU. ``pmu_hidden``: PMUVer and PerfMon are 0 in vCPUs without one. ``perfmon_follows``: PerfMon is
    PMUVer's (read_sanitised_id_dfr0_el1). ``hides_ras_frac``: RAS_frac is shown only where RAS is 1
    (sanitise_id_aa64pfr1_el1). ``virtual_caches``: CCSIDR_EL1 and CLIDR_EL1 are made up (get_ccsidr, reset_clidr); else
    the hardware's.

    What user space may write (sys_regs.c):
    ``checks_features``: each field under its limit (arm64_check_features); else all but one register is as it is.
    ``writable_csv``: what of ID_AA64PFR0_EL1 may be lower then (set_id_aa64pfr0_el1). ``el_not_zero``: EL0, EL1 and
    a nested guest's EL2 are not 0 (set_id_aa64pfr0_el1). ``ignores_mpam``: PFR0.MPAM and PFR1.MPAM_frac at the
    host's value are taken as 0 (set_id_aa64pfr0_el1, set_id_aa64pfr1_el1). ``ignores_nv``: so is MMFR2.NV
    (set_id_aa64mmfr2_el1). ``restores_mte_frac``: MTE_frac 0 is taken as the host's 0xf (set_id_aa64pfr1_el1).
    ``least_debug``: DebugVer and CopDbg are at least this (set_id_aa64dfr0_el1, set_id_dfr0_el1).
    ``ignores_doublelock``: a nested guest's DoubleLock 0 is taken as the host's 0xf (ignore_feat_doublelock).
    ``tgran2``: stage 2 granules of a nested guest are the VM's limit (``host``), or also none (``host_or_none``)
    (set_id_aa64mmfr0_el1). ``checks_l1ip``: CTR_EL0.L1Ip has no reserved value (set_ctr_el0). ``psci_versions``:
    those that KVM_REG_ARM_PSCI_VERSION takes. ``bitmaps``: firmware feature bitmaps by KVM register id: the value
    at reset and the bits that may be set.
    """

    vcpu_features: int
    vm_wide_features: bool
    keeps_vcpu_ids: bool
    shared_width: bool
    counts_vcpus: bool
    mte: bool
    pmu_needs_init: bool
    pmu_registers: str
    timers_stored: bool
    copies_first: bool
    imp_ids: bool
    reports_masks: bool
    nested: str
    vgic_fields: str
    vgic_kills: bool
    tries_once: bool
    drops_unmet: bool
    aarch32_raz: bool
    debug_most: int
    pmuver_most: int
    pmu_hidden: bool
    perfmon_follows: bool
    hides_ras_frac: bool
    virtual_caches: bool
    checks_features: bool
    writable_csv: tuple[str, ...]
    el_not_zero: bool
    ignores_mpam: bool
    ignores_nv: bool
    restores_mte_frac: bool
    least_debug: int
    ignores_doublelock: bool
    tgran2: str
    checks_l1ip: bool
    psci_versions: tuple[int, ...]
    bitmaps: dict[int, tuple[int, int]]
    registers: dict[int, IdRegister]
    fields: dict[int, tuple[FieldPolicy, ...]]
    limits: dict[int, Limit]

    @property
    def source(self) -> str:
        """Where the tables are from."""
        return f"{self.provenance}: arch/arm64/kernel/cpufeature.c, arch/arm64/kvm/sys_regs.c, hypercalls.c"

    def register_name(self, encoding: int) -> str:
        """What this kernel calls a register, or Arm where KVM has none such (DCZID_EL0)."""
        known = self.registers.get(encoding)
        return known.name if known is not None else name_of(op_of_encoding(encoding))


#: What an entry says of itself only, never of those that are like it.
_OWN = ("since", "package", "later")
#: What of an entry is no field.
_NO_FIELDS = ("like", "updates")
#: How a field is read that JSON has otherwise.
_READ: dict[str, Callable[[Any], Any]] = {
    "writable_csv": tuple,
    "psci_versions": tuple,
    "bitmaps": lambda table: {int(key, 16): tuple(value) for key, value in table.items()},
}


def _register(name: str, row: list[Any]) -> IdRegister:
    op0, op1, crn, crm, op2, kind, mask, aarch32 = row
    return IdRegister(name, (op0, op1, crn, crm, op2), kind, int(mask, 16), bool(aarch32))


def _fields(_name: str, table: list[list[Any]]) -> tuple[FieldPolicy, ...]:
    return tuple([_field(*row) for row in table])


@cache
def _field(name: str, lsb: int, width: int, *row: Any) -> FieldPolicy:
    policy, signed, strict, safe = row
    return FieldPolicy(name, lsb, width, policy=policy, signed=bool(signed), strict=bool(strict), safe_value=safe)


def _limit(name: str, entry: dict[str, Any]) -> Limit:
    places = {field["name"]: (field["lsb"], field["width"]) for field in id_registers()[name]["fields"]}

    def mask(names: list[str]) -> int:
        return sum(((1 << places[each][1]) - 1) << places[each][0] for each in names)

    shown = ~mask(entry["shown"]) & (1 << 64) - 1 if "shown" in entry else 0
    most = tuple((*places[each], value) for each, value in entry.get("most", {}).items())
    return Limit(mask(entry.get("hidden", [])) | shown, mask(entry.get("without_mte", [])), most)


def _changed(
    known: Mapping[int, Any], encodings: Mapping[str, int], rows: Mapping[str, Any], make: Callable[[str, Any], Any]
) -> dict[int, Any]:
    """A table by encoding with the rows of an entry put in. One that is null goes, another name may have its place."""
    gone = {encodings[name] for name, row in rows.items() if row is None}
    found = {encoding: row for encoding, row in known.items() if encoding not in gone} if gone else dict(known)
    return found | {encodings[name]: make(name, row) for name, row in rows.items() if row is not None}


def _kernel(entry: dict[str, Any], base: Arm64Kernel | None) -> Arm64Kernel:
    """``base``: the profile that the entry is like; what the entry has not is as there."""
    rows = entry.get("registers", {})
    encodings = {register.name: encoding for encoding, register in base.registers.items()} if base else {}
    encodings |= {name: encoding_of_op(tuple(row[:5])) for name, row in rows.items() if row is not None}
    made = {key: _READ[key](value) if key in _READ else value for key, value in entry.items() if key not in _NO_FIELDS}
    made |= {
        "registers": _changed(base.registers if base else {}, encodings, rows, _register),
        "fields": _changed(base.fields if base else {}, encodings, entry.get("fields", {}), _fields),
        "limits": _changed(base.limits if base else {}, encodings, entry.get("limits", {}), _limit),
    }
    return base.replaced(**dict.fromkeys(_OWN, "") | made) if base else Arm64Kernel(**made)


@cache
def _known() -> dict[str, dict[str, Any]]:
    """The entries by name, oldest first: each has what differs from the one that it is ``like``."""
    return {entry["name"]: entry for entry in data_table("arm64/data/kernels.json")}


@cache
def _updated(name: str, update: int) -> Arm64Kernel | None:
    """A profile as a stable update of the release left it; None where it is as the profile says."""
    known = _known()
    found = [one for one in known[name].get("updates", ()) if (update_number(one["since"]) or 0) <= update]
    if not found:
        return None
    since = found[-1]["since"]
    changed = {**found[-1], "since": "", "version": f"{known[name]['version']}, and what {since} changed", "later": ""}
    return _kernel(changed, kernels()[name])


def updates_of(kernel: Arm64Kernel) -> tuple[str, ...]:
    """The stable updates of a profile's release that changed a rule or a table of it, oldest first."""
    return tuple(one["since"] for one in _known()[kernel.name].get("updates", ()))


@cache
def kernels() -> ByName[Arm64Kernel]:
    """The profiles by name, oldest first."""
    known = _known()
    made: ByName[Arm64Kernel] = ByName(known, lambda name: _kernel(known[name], _like(name)))

    def _like(name: str) -> Arm64Kernel | None:
        return made[known[name]["like"]] if "like" in known[name] else None

    return made


def profile_for(release: str) -> Arm64Kernel:
    """The profile that answers for a release, and for a stable update of it. Raises UnknownReleaseError."""
    found = profile_among(kernels(), release)
    update = None if found.answers_for or found.coming else update_number(release)
    return found if update is None else _updated(found.name, update) or found
