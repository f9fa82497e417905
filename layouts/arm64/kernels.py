"""arm64 kernel profiles: how Linux sanitises ID registers, and what KVM lets user space write.

Data: ``data/kernels.json``, read from the kernel's tables by version. A field says how two CPUs'
values become one (``lower``, ``higher``, ``higher_or_zero``, ``exact``), and is signed or not.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from layouts.arm64.kvm_ids import sysreg_op
from layouts.arm64.sysregs import name_of


class FieldPolicy(NamedTuple):
    """One entry of a kernel's ``arm64_ftr_bits`` table."""

    name: str
    lsb: int
    width: int
    policy: str
    signed: bool
    strict: bool
    safe_value: int

    @property
    def mask(self) -> int:
        """The field's bits."""
        return ((1 << self.width) - 1) << self.lsb

    def get(self, value: int) -> int:
        """The field's value, negative where it is signed and its top bit is set (arm64_ftr_value)."""
        width = self.width
        raw = value >> self.lsb & ((1 << width) - 1)
        return raw - (1 << width) if self.signed and raw >> width - 1 else raw

    def put(self, value: int, field: int) -> int:
        """The register with another value of the field."""
        return value & ~self.mask | (field << self.lsb) & self.mask


class IdRegister(NamedTuple):
    """How KVM treats an ID register.

    ``kind``: ``writable`` within ``mask``; ``sanitised``: the host's, not writable; ``hidden`` and
    ``unallocated`` read as zero; ``implementation`` is writable with a capability; ``vcpu`` is each
    vCPU's own; ``invariant`` takes only its value. ``aarch32``: means nothing without AArch32 at EL0.
    """

    name: str
    op: tuple[int, int, int, int, int]
    kind: str
    mask: int
    aarch32: bool

    @property
    def encoding(self) -> int:
        """The 16 bits that a KVM register id has for it."""
        op0, op1, crn, crm, op2 = self.op
        return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


class Arm64Kernel(NamedTuple):
    """A Linux version. ``registers`` and ``fields`` by encoding; the flags are rules that it has.

    ``writable``: ID registers can be written at all. ``nonzero_el``: EL0 and EL1 cannot be 0.
    ``ignores_nv``: MMFR2.NV at the host's value is taken as 0. ``mte_frac``: MTE_frac 0 is taken
    where the host's is 0xf. ``checks_tgran2``: stage 2 granules of nested guests. ``checks_l1ip``:
    CTR_EL0.L1Ip has no reserved value. ``imp_ids``:
    KVM_CAP_ARM_WRITABLE_IMP_ID_REGS. ``pmuver_signed``: PMUVer and PerfMon count as signed.
    ``vcpu_features``: how many KVM_ARM_VCPU_* bits there are. ``psci_versions``: those that
KVM_REG_ARM_PSCI_VERSION takes. ``bitmaps``: firmware feature bitmaps by id: the value at reset and
    the bits that may be set. ``vm_wide_features``: KVM_ARM_VCPU_INIT checks all features first, and they are the
    VM's; before, each vCPU had its own. ``keeps_vcpu_ids``: another init keeps MPIDR_EL1 and CLIDR_EL1.
    ``vgic_fields``: how the GIC fields follow the VM's GIC: not at all, ``cleared`` by a first run without
    GICv3, or ``follows`` what was made. ``writable_csv``: what old kernels take in ID_AA64PFR0_EL1.
    ``pmuver_most``: the newest PMU that guests get. ``nested``: whose limits a guest with EL2 has
    (limit_nv_id_reg), by the profile that first has them. ``debug_most``: the newest DebugVer that guests get, 0: the
    host's. ``pmu_hidden``: PMUVer and PerfMon are 0 without the PMU feature. ``aarch32_raz``: AArch32 registers
    read as zero and take anything where EL0 has no AArch32.
    """

    name: str
    since: tuple[int, int]
    writable: bool
    nonzero_el: bool
    ignores_nv: bool
    mte_frac: bool
    checks_tgran2: bool
    checks_l1ip: bool
    imp_ids: bool
    pmuver_signed: bool
    vcpu_features: int
    psci_versions: tuple[int, ...]
    bitmaps: dict[int, tuple[int, int]]
    source: str
    registers: dict[int, IdRegister]
    fields: dict[int, tuple[FieldPolicy, ...]]
    vm_wide_features: bool
    keeps_vcpu_ids: bool
    vgic_fields: str
    writable_csv: tuple[str, ...]
    pmuver_most: int
    nested: str
    debug_most: int
    pmu_hidden: bool
    aarch32_raz: bool

    def register_name(self, encoding: int) -> str:
        """What this kernel calls a register, or Arm where KVM has none such (DCZID_EL0)."""
        known = self.registers.get(encoding)
        return known.name if known is not None else name_of(sysreg_op(encoding))


def _registers(rows: dict[str, list[Any]], masks: dict[str, str], *, aarch32_writable: bool) -> dict[str, IdRegister]:
    found = {}
    for name, (op0, op1, crn, crm, op2, kind, mask, aarch32) in rows.items():
        value = int(masks.get(name, mask), 16)
        if aarch32 and not aarch32_writable and name != "ID_DFR0_EL1":
            value = 0
        found[name] = IdRegister(name, (op0, op1, crn, crm, op2), kind, value, bool(aarch32))
    return found


def _fields(table: list[list[Any]]) -> tuple[FieldPolicy, ...]:
    return tuple(
        FieldPolicy(name, lsb, width, policy, bool(signed), bool(strict), safe)
        for name, lsb, width, policy, signed, strict, safe in table
    )


def _kernel(entry: dict[str, Any]) -> Arm64Kernel:
    by_name = _registers(
        entry["registers"], entry.get("masks", {}), aarch32_writable=entry.get("aarch32_writable", True)
    )
    major, minor = entry["since"].split(".")
    made = {key: entry[key] for key in Arm64Kernel._fields if key in entry}
    made |= {
        "since": (int(major), int(minor)),
        "psci_versions": tuple(entry["psci_versions"]),
        "writable_csv": tuple(entry["writable_csv"]),
        "bitmaps": {int(key, 16): tuple(value) for key, value in entry["bitmaps"].items()},
        "registers": {register.encoding: register for register in by_name.values()},
        "fields": {by_name[name].encoding: _fields(table) for name, table in entry["fields"].items()},
    }
    return Arm64Kernel(**made)


@cache
def arm64_kernels() -> dict[str, Arm64Kernel]:
    """The profiles by name, oldest first. An entry that is ``like`` another says only what differs."""
    entries = json.loads(files("layouts.arm64").joinpath("data/kernels.json").read_text("utf-8"))
    by_name = {entry["name"]: entry for entry in entries}
    return {entry["name"]: _kernel({**by_name.get(entry.get("like", ""), {}), **entry}) for entry in entries}


def arm64_kernel_for(release: str) -> Arm64Kernel:
    """The profile of a release as ``uname -r`` has it: the newest that is not newer."""
    found_numbers = re.match(r"(\d+)\.(\d+)", release)
    numbers = tuple(int(part) for part in found_numbers.groups()) if found_numbers else ()
    found = [kernel for kernel in arm64_kernels().values() if kernel.since <= numbers]
    return found[-1] if found else next(iter(arm64_kernels().values()))
