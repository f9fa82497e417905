"""Counters of a guest's PMU that run: which KVM counts itself, by PMSWINC_EL0, and which nobody here can know.

Source: Linux arch/arm64/kvm/pmu-emul.c (kvm_pmu_software_increment, kvm_pmu_counter_increment,
kvm_pmu_counter_can_chain, kvm_pmc_has_64bit_overflow). Filters of an event do not stop PMSWINC_EL0.
"""

from __future__ import annotations

from inspector.machine.arm64 import pmu
from inspector.machine.arm64.arch import VcpuArch
from layouts.arm64.ids import PMCR

#: ARMV8_PMUV3_PERFCTR_SW_INCR and _CHAIN.
_SW_INCR, _CHAIN = 0x00, 0x1E
_LP = 1 << 7
_COUNTERS = {pmu.NUMBERS[one]: one for one in pmu.EVENT_COUNTERS}
_TYPES = {pmu.NUMBERS[one]: one for one in pmu.EVENT_TYPES}
_ALL = (*_COUNTERS.values(), pmu.PMCCNTR)


def by_hardware(vcpu: VcpuArch) -> set[int]:
    """Counters that run now, and that the processor counts for the guest."""
    return {one for one in _ALL if pmu.counts(vcpu, one) and not _is_software(vcpu, one)}


def _event(vcpu: VcpuArch, number: int) -> int:
    return pmu.stored_value(vcpu, _TYPES[number]) & pmu.event_bits(vcpu) & pmu.EVENTS


def _is_software(vcpu: VcpuArch, encoding: int) -> bool:
    """SW_INCR; and CHAIN behind it, which goes on where the lower counter overflows."""
    number = pmu.counter_number(encoding)
    if number is None:
        return False
    event = _event(vcpu, number)
    return event == _SW_INCR or (event == _CHAIN and number % 2 == 1 and _event(vcpu, number - 1) == _SW_INCR)


def increment(vcpu: VcpuArch, counters: int, event: int = _SW_INCR) -> None:
    """A set of counters goes up by one each, where they are enabled and count that event."""
    counters &= pmu.value(vcpu, pmu.PMCNTENSET)
    for number in (one for one in range(pmu.counters(vcpu)) if counters >> one & 1 and _event(vcpu, one) == event):
        found = pmu.stored_value(vcpu, _COUNTERS[number]) + 1
        found &= (1 << 64) - 1 if pmu.has_64_bits(vcpu) else pmu.LOW
        pmu.keep(vcpu, _COUNTERS[number], found)
        is_long = _overflows_late(vcpu)
        if found if is_long else found & pmu.LOW:
            continue
        overflows_itself = vcpu.host.kernel.pmu_registers != "plain" or not _is_chained(vcpu, number)
        if overflows_itself:
            pmu.keep(vcpu, pmu.PMOVSSET, pmu.stored_value(vcpu, pmu.PMOVSSET) | 1 << number)
        if number % 2 == 0 and not is_long:
            increment(vcpu, 1 << (number + 1), _CHAIN)


def _is_chained(vcpu: VcpuArch, number: int) -> bool:
    """Linux 5.10 notes the overflow of a pair in the higher counter alone (kvm_pmu_pmc_is_chained)."""
    return number % 2 == 0 and number + 1 < pmu.COUNTERS and _event(vcpu, number + 1) == _CHAIN


def _overflows_late(vcpu: VcpuArch) -> bool:
    """PMCR_EL0.LP of PMUv3p5: behind bit 63."""
    return pmu.has_64_bits(vcpu) and bool(pmu.stored_value(vcpu, PMCR) & _LP)
