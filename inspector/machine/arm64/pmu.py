"""The PMU's registers: what reset leaves in them, what KVM_GET_ONE_REG shows, what KVM_SET_ONE_REG keeps.

Source: Linux arch/arm64/kvm/sys_regs.c (reset_pmcr, reset_pmu_reg, reset_pmevtyper, set_pmcr, set_pmreg, set_pmmir and
their like), pmu-emul.c (kvm_vcpu_read_pmcr, kvm_pmu_evtyper_mask, kvm_pmc_is_64bit). Which release has which rules is
``pmu_registers`` of its profile. A counter of a guest that does not run stands still.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.arch import AtReset, VcpuArch
from inspector.machine.arm64.host import HAS_EL2, PMU_V3, PMU_V3_STRICT, Host
from inspector.machine.outcome import ESR_UNDEF, Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import DFR0, PFR0, PMCR, PSTATE, encoding_of_op, sysreg_id
from layouts.arm64.listed import UNKNOWN
from layouts.arm64.sysregs import encodings
from layouts.vocabulary import Bits


def _encoding(name: str) -> int:
    return encoding_of_op(encodings()[name])


_PMMIR, _PMSWINC, _PMSELR, _PMCCNTR, _MDCR, _PMCNTENSET, _PMCCFILTR = map(
    _encoding,
    ("PMMIR_EL1", "PMSWINC_EL0", "PMSELR_EL0", "PMCCNTR_EL0", "MDCR_EL2", "PMCNTENSET_EL0", "PMCCFILTR_EL0"),
)
#: Sets of counters, and the register that both accesses to one have: a set, and whether a bit written sets it.
_SETS = {
    _encoding(name): (_encoding(kept), name == kept)
    for kept, other in (
        ("PMCNTENSET_EL0", "PMCNTENCLR_EL0"),
        ("PMINTENSET_EL1", "PMINTENCLR_EL1"),
        ("PMOVSSET_EL0", "PMOVSCLR_EL0"),
    )
    for name in (kept, other)
}
_COUNTERS = 31
_EVENT_COUNTERS = frozenset(_encoding(f"PMEVCNTR{number}_EL0") for number in range(_COUNTERS))
_EVENT_TYPES = frozenset(_encoding(f"PMEVTYPER{number}_EL0") for number in range(_COUNTERS))
_NUMBERS = {
    _encoding(f"{name}{number}_EL0"): number for name in ("PMEVCNTR", "PMEVTYPER") for number in range(_COUNTERS)
}
_ALL = frozenset((PMCR, _PMMIR, _PMSWINC, _PMSELR, _PMCCNTR, *_SETS, *_EVENT_COUNTERS, *_EVENT_TYPES))

#: PMCR_EL0: the bits that a guest writes, E, LC, N; what old kernels leave in the former (reset_pmcr).
_WRITABLE, _E, _LC, _N = 0xFF, 1, 1 << 6, Bits("N", 11, 5)
_DECAF = 0xDECAFBAD
_HPMN, _SEL, _SLOTS = 0x1F, 0x1F, 0xFF
#: P and C, which reset counters and read as zero.
_RESET_EVENTS, _RESET_CYCLES = 1 << 1, 1 << 2
RESETS = _RESET_EVENTS | _RESET_CYCLES
_LP = 1 << 7
_CYCLES, _LOW = 1 << 31, (1 << 32) - 1
#: PMEVTYPERn_EL0: exclusion of EL1 and EL0, inclusion of EL2; of a guest with EL3: exclusion of its levels.
_LEVELS, _INCLUDE_EL2, _OF_EL3 = 3 << 30, 1 << 27, 3 << 28 | 1 << 26
#: ID_AA64DFR0_EL1.PMUVer: PMUv3, with 10 bits of events; PMUv3p5, with 64-bit counters; the last that KVM knows.
_V3, _V3P1, _V3P5, _V3P7 = 1, 4, 6, 7
_EVENTS_V3, _EVENTS = 0x3FF, 0xFFFF
_EL2_MODES = (0x8, 0x9)


def counters_of(host: Host) -> int:
    """How many event counters the host's PMU has (kvm_arm_pmu_get_max_counters)."""
    return _N.get(host.pmcr)


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
    event = _event_bits(vcpu) if by_vm else _LEVELS | _INCLUDE_EL2 | _EVENTS
    return AtReset(_set_of(number), event)


def _set_of(number: int) -> int:
    return (1 << number) - 1 | _CYCLES


def _event_bits(vcpu: VcpuArch) -> int:
    """kvm_pmu_evtyper_mask."""
    pfr0, version = vcpu.id_value(PFR0), of.DFR0_PMUVER.get(vcpu.id_value(DFR0))
    found = _LEVELS | (_EVENTS_V3 if version == _V3 else _EVENTS if _V3P1 <= version <= _V3P7 else 0)
    found |= _INCLUDE_EL2 if of.PFR0_EL2.get(pfr0) else 0
    return found | (_OF_EL3 if of.PFR0_EL3.get(pfr0) else 0)


def is_special(vcpu: VcpuArch, encoding: int) -> bool:
    """The register has a rule here; on Linux 5.10 only PMCR_EL0, all others hold what is written."""
    return encoding == PMCR if vcpu.host.kernel.pmu_registers == "plain" else encoding in _ALL


def _stored(vcpu: VcpuArch, encoding: int) -> int:
    """What the vCPU keeps, since reset or since it was written."""
    kept = _SETS.get(encoding, (encoding, True))[0]
    data = vcpu.values.get(sysreg_id(kept))
    return _reset_value(vcpu, kept) if data is None else int.from_bytes(data, "little")


def _keep(vcpu: VcpuArch, encoding: int, value: int) -> None:
    kept = _SETS.get(encoding, (encoding, True))[0]
    vcpu.values[sysreg_id(kept)] = value.to_bytes(8, "little")


def _reset_value(vcpu: VcpuArch, encoding: int) -> int:
    if encoding == PMCR:
        return _reset_pmcr(vcpu.host)
    if encoding in _SETS:
        return UNKNOWN & vcpu.pmu_at_reset.counters
    if encoding in _EVENT_COUNTERS:
        return UNKNOWN & _LOW
    if encoding in _EVENT_TYPES:
        return UNKNOWN & vcpu.pmu_at_reset.event
    if encoding == _PMSELR:
        return UNKNOWN & _SEL
    return UNKNOWN if encoding == _PMCCNTR else 0


def _reset_pmcr(host: Host) -> int:
    """Until 6.1 the host's with what a guest writes unknown, in 6.6 N alone; since then N is the VM's."""
    how = host.kernel.pmu_registers
    lc = 0 if host.has_aarch32 else _LC
    if how in ("plain", "reset"):
        return (host.pmcr & ~_WRITABLE | _WRITABLE & _DECAF & ~_E | lc) if host.features & PMU_V3 else 0
    return (host.pmcr & _N.mask if how == "counters" else 0) | lc


def value(vcpu: VcpuArch, encoding: int) -> int:
    """KVM_GET_ONE_REG of such a register."""
    how, stored = vcpu.host.kernel.pmu_registers, _stored(vcpu, encoding)
    if how in ("set_clear", "raw"):
        if encoding == PMCR:
            return _N.put(stored, _counters(vcpu))
        if encoding in _SETS:
            return stored & _set_of(_counters(vcpu))
    if encoding in _EVENT_COUNTERS and not _has_64_bits(vcpu):
        return stored & _LOW
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
    return _N.get(value(vcpu, PMCR))


def counter_number(encoding: int) -> int | None:
    """Which event counter a register is of."""
    return _NUMBERS.get(encoding)


def counts(vcpu: VcpuArch, encoding: int) -> bool:
    """The register is a counter that the guest enabled."""
    bit = 31 if encoding == _PMCCNTR else _NUMBERS.get(encoding, -1) if encoding in _EVENT_COUNTERS else -1
    if bit < 0 or not _stored(vcpu, PMCR) & _E:
        return False
    return bool(value(vcpu, _PMCNTENSET) >> bit & 1)


def guest_write(rule: Rule, vcpu: VcpuArch, encoding: int, written: int) -> Outcome:
    """MSR at EL1, since 6.6; a register's event counter is there."""
    if encoding == PMCR:
        rule.source = "access_pmcr (sys_regs.c), kvm_pmu_handle_pmcr (pmu-emul.c)"
        return _guest_pmcr(rule, vcpu, written)
    if encoding == _PMSWINC:
        rule.source = "access_pmswinc (sys_regs.c)"
        return rule.ok() if not _stored(vcpu, PMCR) & _E else rule.depends("which counters count PMSWINC_EL0")
    if encoding in _SETS:
        rule.source = "access_pmcnten, access_pminten, access_pmovs (sys_regs.c)"
        before, mask = _stored(vcpu, encoding), written & _set_of(counters(vcpu))
        written = before | mask if _SETS[encoding][1] else before & ~mask
    elif encoding in _EVENT_TYPES or encoding == _PMCCFILTR:
        rule.source = "kvm_pmu_set_counter_event_type (pmu-emul.c)"
        written &= _event_bits(vcpu)
    elif encoding == _PMSELR:
        rule.source = "access_pmselr (sys_regs.c)"
    elif encoding == _PMMIR:
        rule.check("PMMIR_EL1 can be written at EL1", held=False)
        return rule.fault(ESR_UNDEF)
    else:
        rule.source = "access_pmu_evcntr (sys_regs.c)"
    _keep(vcpu, encoding, written)
    return rule.ok()


def _guest_pmcr(rule: Rule, vcpu: VcpuArch, written: int) -> Outcome:
    """N is not the guest's; P and C reset counters."""
    kept = written & _WRITABLE & ~RESETS | (0 if vcpu.host.has_aarch32 else _LC)
    if of.DFR0_PMUVER.get(vcpu.id_value(DFR0)) < _V3P5:
        kept &= ~_LP
    _keep(vcpu, PMCR, _N.put(kept, _N.get(_stored(vcpu, PMCR))))
    if written & _RESET_CYCLES:
        _keep(vcpu, _PMCCNTR, 0)
    if written & _RESET_EVENTS:
        for encoding, number in _NUMBERS.items():
            if encoding in _EVENT_COUNTERS and number < counters(vcpu):
                _keep(vcpu, encoding, 0)
    return rule.ok()


def _has_64_bits(vcpu: VcpuArch) -> bool:
    """Event counters have 64 bits (kvm_pmc_is_64bit); in 6.1 never (kvm_pmu_idx_is_64bit)."""
    is_old = vcpu.host.kernel.pmu_registers == "reset"
    return not is_old and of.DFR0_PMUVER.get(vcpu.id_value(DFR0)) >= _V3P5


def put(rule: Rule, vcpu: VcpuArch, encoding: int, written: int) -> Outcome:
    """KVM_SET_ONE_REG of such a register."""
    how = vcpu.host.kernel.pmu_registers
    if encoding == _PMMIR:
        return _set_pmmir(rule, vcpu, written)
    if encoding == _PMSWINC:
        rule.source = "set_wi_reg (sys_regs.c)"
        return rule.ok()
    if encoding == PMCR and how in ("set_clear", "raw"):
        return _set_pmcr(rule, vcpu, written)
    if encoding in _SETS and how in ("set_clear", "raw"):
        rule.source = "set_pmreg (sys_regs.c)"
        written &= _set_of(_counters(vcpu))
        if how == "set_clear":
            before, sets = _stored(vcpu, encoding), _SETS[encoding][1]
            written = before | written if sets else before & ~written
    _keep(vcpu, encoding, written)
    return rule.ok()


def _set_pmcr(rule: Rule, vcpu: VcpuArch, written: int) -> Outcome:
    """N is the VM's until it runs, and as many as the host has at most; else it is ignored, as other bits are."""
    rule.source = "set_pmcr (sys_regs.c)"
    vm, number = vcpu.vm, _N.get(written)
    is_fixed = vm.ran or vcpu.features & (HAS_EL2 | PMU_V3_STRICT)
    if not is_fixed and number <= counters_of(vcpu.host):
        vm.pmu_counters = number
    _keep(vcpu, PMCR, written & _WRITABLE | (0 if vcpu.host.has_aarch32 else _LC))
    return rule.ok()


def _set_pmmir(rule: Rule, vcpu: VcpuArch, written: int) -> Outcome:
    rule.source = "set_pmmir (sys_regs.c)"
    if not rule.check("only SLOTS is set", not written & ~_SLOTS):
        return rule.refuse(errno.EINVAL)
    if not rule.check("SLOTS is the VM's, 0", not written):
        return rule.refuse(errno.EBUSY if vcpu.vm.ran else errno.EINVAL)
    return rule.ok()
