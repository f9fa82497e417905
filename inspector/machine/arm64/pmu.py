"""The PMU's registers: what reset leaves in them, what KVM_GET_ONE_REG shows, what KVM_SET_ONE_REG keeps.

What a guest's own accesses do is in :mod:`inspector.machine.arm64.pmu_guest`.

Source: Linux arch/arm64/kvm/sys_regs.c (reset_pmcr, reset_pmu_reg, reset_pmevtyper, set_pmcr, set_pmreg, set_pmmir and
their like), pmu-emul.c (kvm_vcpu_read_pmcr, kvm_pmu_evtyper_mask, kvm_pmc_is_64bit). Which release has which rules is
``pmu_registers`` of its profile. A counter of a guest that does not run stands still.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.arch import AtReset, VcpuArch
from inspector.machine.arm64.host import HAS_EL2, PMU_V3, PMU_V3_STRICT, Host
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import DFR0, PFR0, PMCR, PSTATE, encoding_of_op, sysreg_id
from layouts.arm64.listed import UNKNOWN
from layouts.arm64.sysregs import encodings
from layouts.vocabulary import Bits


def _encoding(name: str) -> int:
    return encoding_of_op(encodings()[name])


PMMIR, PMSWINC, PMSELR, PMCCNTR, _MDCR, PMCNTENSET, PMCCFILTR, PMOVSSET = map(
    _encoding,
    (
        "PMMIR_EL1",
        "PMSWINC_EL0",
        "PMSELR_EL0",
        "PMCCNTR_EL0",
        "MDCR_EL2",
        "PMCNTENSET_EL0",
        "PMCCFILTR_EL0",
        "PMOVSSET_EL0",
    ),
)
#: Sets of counters, and the register that both accesses to one have: a set, and whether a bit written sets it.
SETS = {
    _encoding(name): (_encoding(kept), name == kept)
    for kept, other in (
        ("PMCNTENSET_EL0", "PMCNTENCLR_EL0"),
        ("PMINTENSET_EL1", "PMINTENCLR_EL1"),
        ("PMOVSSET_EL0", "PMOVSCLR_EL0"),
    )
    for name in (kept, other)
}
COUNTERS = 31
EVENT_COUNTERS = frozenset(_encoding(f"PMEVCNTR{number}_EL0") for number in range(COUNTERS))
EVENT_TYPES = frozenset(_encoding(f"PMEVTYPER{number}_EL0") for number in range(COUNTERS))
NUMBERS = {_encoding(f"{name}{number}_EL0"): number for name in ("PMEVCNTR", "PMEVTYPER") for number in range(COUNTERS)}
_ALL = frozenset((PMCR, PMMIR, PMSWINC, PMSELR, PMCCNTR, *SETS, *EVENT_COUNTERS, *EVENT_TYPES))

#: PMCR_EL0: the bits that a guest writes, E, LC, N; what old kernels leave in the former (reset_pmcr).
WRITABLE, ENABLE, LC, N = 0xFF, 1, 1 << 6, Bits("N", 11, 5)
_DECAF = 0xDECAFBAD
_HPMN, SELECTED, _SLOTS = 0x1F, 0x1F, 0xFF
_CYCLES, LOW = 1 << 31, (1 << 32) - 1
#: PMEVTYPERn_EL0: exclusion of EL1 and EL0, inclusion of EL2; of a guest with EL3: exclusion of its levels.
_LEVELS, _INCLUDE_EL2, _OF_EL3 = 3 << 30, 1 << 27, 3 << 28 | 1 << 26
#: ID_AA64DFR0_EL1.PMUVer: PMUv3, with 10 bits of events; PMUv3p5, with 64-bit counters; the last that KVM knows.
_V3, _V3P1, V3P5, _V3P7 = 1, 4, 6, 7
_EVENTS_V3, EVENTS = 0x3FF, 0xFFFF
#: ARMV8_PMU_EVTYPE_MASK until 6.6.
ALL_EVENT_BITS = _LEVELS | _INCLUDE_EL2 | EVENTS
_EL2_MODES = (0x8, 0x9)


def counters_of(host: Host) -> int:
    """How many event counters the host's PMU has (kvm_arm_pmu_get_max_counters)."""
    return N.get(host.pmcr)


def counters_at_init(host: Host, features: int) -> int:
    """PMCR_EL0.N of a new VM: all of the host's, none without a PMU or before a strict one is chosen."""
    return counters_of(host) if features & PMU_V3 and not features & PMU_V3_STRICT else 0


def at_reset(vcpu: VcpuArch) -> AtReset:
    """What reset_pmu_reg and reset_pmevtyper need to know."""
    how = vcpu.host.kernel.pmu_registers
    if how == "plain" or not vcpu.features & PMU_V3:
        return AtReset()
    by_vm = how in ("set_clear", "raw")
    number = vcpu.vm.pmu_counters if by_vm else counters_of(vcpu.host)
    event = event_bits(vcpu) if by_vm else ALL_EVENT_BITS
    return AtReset(set_of(number), event)


def set_of(number: int) -> int:
    """So many event counters and the cycle counter (kvm_pmu_valid_counter_mask)."""
    return (1 << number) - 1 | _CYCLES


def event_bits(vcpu: VcpuArch) -> int:
    """kvm_pmu_evtyper_mask."""
    pfr0, version = vcpu.id_value(PFR0), of.DFR0_PMUVER.get(vcpu.id_value(DFR0))
    found = _LEVELS | (_EVENTS_V3 if version == _V3 else EVENTS if _V3P1 <= version <= _V3P7 else 0)
    found |= _INCLUDE_EL2 if of.PFR0_EL2.get(pfr0) else 0
    return found | (_OF_EL3 if of.PFR0_EL3.get(pfr0) else 0)


def is_special(vcpu: VcpuArch, encoding: int) -> bool:
    """The register has a rule here. Linux 5.10 has no PMMIR_EL1."""
    return encoding in _ALL and (encoding != PMMIR or vcpu.host.kernel.pmu_registers != "plain")


def stored_value(vcpu: VcpuArch, encoding: int) -> int:
    """What the vCPU keeps, since reset or since it was written."""
    kept = SETS.get(encoding, (encoding, True))[0]
    data = vcpu.values.get(sysreg_id(kept))
    return _reset_value(vcpu, kept) if data is None else int.from_bytes(data, "little")


def keep(vcpu: VcpuArch, encoding: int, value: int) -> None:
    """The register holds a value, whatever was asked."""
    kept = SETS.get(encoding, (encoding, True))[0]
    vcpu.values[sysreg_id(kept)] = value.to_bytes(8, "little")


def _reset_value(vcpu: VcpuArch, encoding: int) -> int:
    if encoding == PMCR:
        return _reset_pmcr(vcpu.host)
    if vcpu.host.kernel.pmu_registers == "plain":
        return UNKNOWN
    if encoding in SETS:
        return UNKNOWN & vcpu.pmu_at_reset.counters
    if encoding in EVENT_COUNTERS:
        return UNKNOWN & LOW
    if encoding in EVENT_TYPES:
        return UNKNOWN & vcpu.pmu_at_reset.event
    if encoding == PMSELR:
        return UNKNOWN & SELECTED
    return UNKNOWN if encoding == PMCCNTR else 0


def _reset_pmcr(host: Host) -> int:
    """Until 6.1 the host's with what a guest writes unknown, in 6.6 N alone; since then N is the VM's."""
    how = host.kernel.pmu_registers
    lc = 0 if host.has_aarch32 else LC
    if how in ("plain", "reset"):
        return (host.pmcr & ~WRITABLE | WRITABLE & _DECAF & ~ENABLE | lc) if host.features & PMU_V3 else 0
    return (host.pmcr & N.mask if how == "counters" else 0) | lc


def value(vcpu: VcpuArch, encoding: int) -> int:
    """KVM_GET_ONE_REG of such a register."""
    how, stored = vcpu.host.kernel.pmu_registers, stored_value(vcpu, encoding)
    if how in ("set_clear", "raw"):
        if encoding == PMCR:
            return N.put(stored, _counters(vcpu))
        if encoding in SETS:
            return stored & set_of(_counters(vcpu))
    if encoding in EVENT_COUNTERS and how != "plain" and not has_64_bits(vcpu):
        return stored & LOW
    return stored


def _counters(vcpu: VcpuArch) -> int:
    """PMCR_EL0.N: of a guest's EL1 or EL0 under its own EL2, MDCR_EL2.HPMN (kvm_vcpu_read_pmcr)."""
    if vcpu.features & HAS_EL2:
        mode = int.from_bytes(vcpu.values[PSTATE], "little") & 0x1F
        mdcr = vcpu.values.get(sysreg_id(_MDCR))
        if mode not in _EL2_MODES and mdcr is not None:
            return int.from_bytes(mdcr, "little") & _HPMN
    return vcpu.vm.pmu_counters


def counters(vcpu: VcpuArch) -> int:
    """How many event counters the guest has, PMCR_EL0.N."""
    return N.get(value(vcpu, PMCR))


def counter_number(encoding: int) -> int | None:
    """Which event counter a register is of."""
    return NUMBERS.get(encoding)


def counts(vcpu: VcpuArch, counter: int) -> bool:
    """The guest enabled a counter, by its register's encoding."""
    bit = 31 if counter == PMCCNTR else NUMBERS[counter]
    return bool(stored_value(vcpu, PMCR) & ENABLE and value(vcpu, PMCNTENSET) >> bit & 1)


def has_64_bits(vcpu: VcpuArch) -> bool:
    """Event counters have 64 bits (kvm_pmc_is_64bit); until 6.1 never (kvm_pmu_idx_is_64bit)."""
    is_old = vcpu.host.kernel.pmu_registers in ("plain", "reset")
    return not is_old and of.DFR0_PMUVER.get(vcpu.id_value(DFR0)) >= V3P5


def put(rule: Rule, vcpu: VcpuArch, encoding: int, written: int) -> Outcome:
    """KVM_SET_ONE_REG of such a register."""
    how = vcpu.host.kernel.pmu_registers
    vcpu.pmu_ran.discard(encoding)
    if encoding == PMMIR:
        return _set_pmmir(rule, vcpu, written)
    if encoding == PMSWINC and how != "plain":
        rule.source = "set_wi_reg (sys_regs.c)"
        return rule.ok()
    if encoding == PMCR and how in ("set_clear", "raw"):
        return _set_pmcr(rule, vcpu, written)
    if encoding in SETS and how in ("set_clear", "raw"):
        rule.source = "set_pmreg (sys_regs.c)"
        written &= set_of(_counters(vcpu))
        if how == "set_clear":
            before, sets = stored_value(vcpu, encoding), SETS[encoding][1]
            written = before | written if sets else before & ~written
    keep(vcpu, encoding, written)
    return rule.ok()


def _set_pmcr(rule: Rule, vcpu: VcpuArch, written: int) -> Outcome:
    """N is the VM's until it runs, and as many as the host has at most; else it is ignored, as other bits are."""
    rule.source = "set_pmcr (sys_regs.c)"
    vm, number = vcpu.vm, N.get(written)
    is_fixed = vm.ran or vcpu.features & (HAS_EL2 | PMU_V3_STRICT)
    if not is_fixed and number <= counters_of(vcpu.host):
        vm.pmu_counters = number
    keep(vcpu, PMCR, written & WRITABLE | (0 if vcpu.host.has_aarch32 else LC))
    return rule.ok()


def _set_pmmir(rule: Rule, vcpu: VcpuArch, written: int) -> Outcome:
    rule.source = "set_pmmir (sys_regs.c)"
    if not rule.check("only SLOTS is set", not written & ~_SLOTS):
        return rule.refuse(errno.EINVAL)
    if not rule.check("SLOTS is the VM's, 0", not written):
        return rule.refuse(errno.EBUSY if vcpu.vm.ran else errno.EINVAL)
    return rule.ok()
