"""What a guest's own accesses do to registers of its PMU, and its first run on kernels that write PMCR_EL0 for it.

Which release has which rules is ``pmu_registers`` of its profile. What hangs on counters that run is left open.

Source: Linux arch/arm64/kvm/sys_regs.c (access_pmcr, access_pmselr, access_pmu_evcntr, access_pmu_evtyper,
access_pmcnten, access_pminten, access_pmovs, access_pmswinc, access_pmuserenr), pmu-emul.c (kvm_pmu_handle_pmcr,
kvm_pmu_set_counter_event_type, kvm_pmu_set_counter_value).
"""

from __future__ import annotations

from inspector.machine.arm64 import pmu, pmu_events, pmu_running
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.host import HAS_EL2, PMU_V3
from inspector.machine.outcome import ESR_UNDEF, Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import DFR0, PMCR, encoding_of_op
from layouts.arm64.sysregs import encodings

PMUSERENR = encoding_of_op(encodings()["PMUSERENR_EL0"])
_USERENR = 0xF
#: PMCR_EL0: P and C reset counters and read as zero; LP is PMUv3p5's.
_RESET_EVENTS, _RESET_CYCLES, _LP = 1 << 1, 1 << 2, 1 << 7
_RESETS = _RESET_EVENTS | _RESET_CYCLES
_U64 = (1 << 64) - 1
#: Bits that a guest reads of registers that may hold more; event types show these until 6.6 alone.
_SHOWN = {PMCR: ~_RESETS, pmu.PMSELR: pmu.SELECTED, PMUSERENR: _USERENR}
_SHOW_EVENT_BITS = ("plain", "reset", "counters")
#: Kernels whose first run handles PMCR_EL0 as if the guest wrote it (KVM_REQ_RELOAD_PMU), 6.1 to 6.12.
_HANDLES_AT_RUN = ("reset", "counters", "set_clear")


def is_pmu(vcpu: VcpuArch, encoding: int) -> bool:
    """A register of the PMU, also those that simply hold what user space writes."""
    return pmu.is_special(vcpu, encoding) or encoding in (PMUSERENR, pmu.PMCCFILTR)


def first_run(vcpu: VcpuArch) -> None:
    """kvm_arm_pmu_v3_enable: Linux 5.10 has a PMU from here on; 6.1 to 6.12 handle PMCR_EL0, with P, C and LP."""
    vcpu.pmu_ready = vcpu.pmu_created
    if vcpu.features & PMU_V3 and _how(vcpu) in _HANDLES_AT_RUN:
        _handle_pmcr(vcpu, pmu.value(vcpu, PMCR))


def read(rule: Rule, vcpu: VcpuArch, encoding: int, value: int) -> Outcome:
    """MRS at EL1; KVM_GET_ONE_REG shows ``value``."""
    if encoding == pmu.PMSWINC:
        rule.check("PMSWINC_EL0 can be read", held=False)
        return rule.fault(ESR_UNDEF)
    if not _is_ready(vcpu):
        return rule.ok(0)
    if not _has_counter(rule, vcpu, encoding):
        return rule.fault(ESR_UNDEF)
    if encoding in vcpu.pmu_ran or encoding in pmu_running.by_hardware(vcpu):
        return rule.depends("how far a counter came that runs, or ran since it was written")
    return rule.ok(value & _shown(vcpu, encoding))


def _shown(vcpu: VcpuArch, encoding: int) -> int:
    how = _how(vcpu)
    if encoding in pmu.EVENT_TYPES or encoding == pmu.PMCCFILTR:
        return pmu.ALL_EVENT_BITS if how in _SHOW_EVENT_BITS else _U64
    if how == "plain" and encoding in pmu.SETS:
        return pmu.set_of(pmu.counters(vcpu))
    if how == "plain" and encoding in pmu.EVENT_COUNTERS:
        return pmu.LOW
    return _SHOWN.get(encoding, _U64)


def write(rule: Rule, vcpu: VcpuArch, encoding: int, written: int) -> Outcome:
    """MSR at EL1."""
    if vcpu.features & HAS_EL2:
        return rule.depends("what a write does in a guest with EL2 beside changing the register: it is not modelled")
    if encoding == pmu.PMMIR:
        rule.check("PMMIR_EL1 can be written at EL1", held=False)
        return rule.fault(ESR_UNDEF)
    if not _is_ready(vcpu):
        rule.source = "trap_raz_wi (sys_regs.c)"
        return rule.ok()
    if not _has_counter(rule, vcpu, encoding):
        return rule.fault(ESR_UNDEF)
    if encoding == pmu.PMSWINC:
        rule.source = "access_pmswinc (sys_regs.c)"
        if pmu.stored_value(vcpu, PMCR) & pmu.ENABLE:
            pmu_running.increment(vcpu, written)
        return rule.ok()
    ran = vcpu.pmu_ran | pmu_running.by_hardware(vcpu)
    rule.source = _write(vcpu, encoding, written)
    vcpu.pmu_ran = ran - _written(encoding, written) | pmu_running.by_hardware(vcpu)
    return rule.ok()


def _written(encoding: int, value: int) -> frozenset[int]:
    """The counters that a write gives a value."""
    if encoding != PMCR:
        return frozenset((encoding,))
    events = pmu.EVENT_COUNTERS if value & _RESET_EVENTS else frozenset()
    return events | ({pmu.PMCCNTR} if value & _RESET_CYCLES else set())


def _write(vcpu: VcpuArch, encoding: int, written: int) -> str:
    """The register that is there, and the functions that write it."""
    if encoding == PMCR:
        kept = pmu.stored_value(vcpu, PMCR) & ~pmu.WRITABLE | written & pmu.WRITABLE
        _handle_pmcr(vcpu, kept | (0 if vcpu.host.has_aarch32 else pmu.LC))
        return "access_pmcr (sys_regs.c), kvm_pmu_handle_pmcr (pmu-emul.c)"
    if encoding in pmu.SETS:
        _write_set(vcpu, encoding, written & pmu.set_of(pmu.counters(vcpu)))
        return "access_pmcnten, access_pminten, access_pmovs (sys_regs.c)"
    if encoding in pmu.EVENT_TYPES or encoding == pmu.PMCCFILTR:
        is_old = _how(vcpu) in ("plain", "reset")
        pmu.keep(vcpu, encoding, written & pmu.event_bits(vcpu))
        pmu_events.made_anew(vcpu, pmu.counter_number(encoding))
        if is_old:
            pmu.keep(vcpu, encoding, written & pmu.ALL_EVENT_BITS)
        return "access_pmu_evtyper (sys_regs.c), kvm_pmu_set_counter_event_type (pmu-emul.c)"
    if encoding in pmu.EVENT_COUNTERS:
        _set_counter(vcpu, encoding, written)
        return "access_pmu_evcntr (sys_regs.c), kvm_pmu_set_counter_value (pmu-emul.c)"
    pmu.keep(vcpu, encoding, written & _USERENR if encoding == PMUSERENR else written)
    return "access_pmselr, access_pmuserenr, access_pmu_evcntr (sys_regs.c)"


def _write_set(vcpu: VcpuArch, encoding: int, counters: int) -> None:
    kept, sets = pmu.SETS[encoding]
    before = pmu.stored_value(vcpu, encoding)
    pmu.keep(vcpu, encoding, before | counters if sets else before & ~counters)
    if kept == pmu.PMCNTENSET and (not sets or pmu.stored_value(vcpu, PMCR) & pmu.ENABLE):
        for number in range(pmu.COUNTERS):
            if counters >> number & 1:
                pmu_events.made_anew(vcpu, number)


def _handle_pmcr(vcpu: VcpuArch, value: int) -> None:
    """kvm_pmu_handle_pmcr; P and C stay in the register on 5.10, LP since 6.6 only where there is one."""
    how = _how(vcpu)
    kept = value if how == "plain" else value & ~_RESETS
    if how not in ("plain", "reset") and of.DFR0_PMUVER.get(vcpu.id_value(DFR0)) < pmu.V3P5:
        kept &= ~_LP
    pmu.keep(vcpu, PMCR, kept)
    number = pmu.counters(vcpu)
    for one in range(number):
        if not value & pmu.ENABLE or pmu.stored_value(vcpu, pmu.PMCNTENSET) >> one & 1:
            pmu_events.made_anew(vcpu, one)
    if value & _RESET_CYCLES:
        pmu.keep(vcpu, pmu.PMCCNTR, 0)
    if value & _RESET_EVENTS:
        for encoding in pmu.EVENT_COUNTERS:
            if (pmu.counter_number(encoding) or 0) < number:
                _set_counter(vcpu, encoding, 0)


def _set_counter(vcpu: VcpuArch, encoding: int, value: int) -> None:
    """On 5.10 the difference is added, so what is above bit 31 stays until a perf event gives its count."""
    if _how(vcpu) == "plain":
        before = pmu.stored_value(vcpu, encoding)
        value = before + value - (before & pmu.LOW) & _U64
    pmu.keep(vcpu, encoding, value)
    pmu_events.made_anew(vcpu, pmu.counter_number(encoding))


def _has_counter(rule: Rule, vcpu: VcpuArch, encoding: int) -> bool:
    number = pmu.counter_number(encoding)
    return number is None or rule.check(f"the guest has event counter {number}", number < pmu.counters(vcpu))


def _is_ready(vcpu: VcpuArch) -> bool:
    """Linux 5.10 shows every vCPU the PMU's registers; without one they are RAZ/WI (kvm_arm_pmu_v3_ready)."""
    return vcpu.pmu_ready or _how(vcpu) != "plain"


def _how(vcpu: VcpuArch) -> str:
    return vcpu.host.kernel.pmu_registers
