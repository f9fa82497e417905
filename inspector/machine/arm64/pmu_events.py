"""The perf events behind event counters on Linux 5.10, for what KVM_GET_ONE_REG then shows above bit 31 of a counter.

A counter without a perf event keeps what was written; of one that had an event 32 bits are left when that is released.
Taken as given: perf makes every event that it is asked for, and none is filtered. Chained counters run: they are open.

Source: Linux 5.10 arch/arm64/kvm/pmu-emul.c (kvm_pmu_create_perf_event, kvm_pmu_stop_counter).
"""

from __future__ import annotations

from inspector.machine.arm64 import pmu
from inspector.machine.arm64.arch import VcpuArch

_OF_NUMBER = {pmu.NUMBERS[one]: one for one in pmu.EVENT_COUNTERS}
_TYPE_OF_NUMBER = {pmu.NUMBERS[one]: one for one in pmu.EVENT_TYPES}
#: ARMV8_PMUV3_PERFCTR_SW_INCR: KVM counts it itself.
_SW_INCR = 0


def made_anew(vcpu: VcpuArch, number: int | None) -> None:
    """The event of a counter is released, and made again unless software counts it."""
    if number is None or vcpu.host.kernel.pmu_registers != "plain":
        return
    counter = _OF_NUMBER[number]
    if number in vcpu.pmu_events:
        pmu.keep(vcpu, counter, pmu.stored_value(vcpu, counter) & pmu.LOW)
    vcpu.pmu_events.discard(number)
    if pmu.stored_value(vcpu, _TYPE_OF_NUMBER[number]) & pmu.event_bits(vcpu) & pmu.EVENTS != _SW_INCR:
        vcpu.pmu_events.add(number)
